"""What the outputs of anomaly and regression models say, of pictures and of traces alike.

===========  ==========================================================================
anomaly      ``score`` (1, 1): how unusual the input is, from 0; a further output, such as
             ``error_map``, says where
autoencoder  the input, rebuilt; its mean squared difference from the input is the score
regress      ``values`` (1, K), named by the labels, in their own units
===========  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import SpecMismatchError
from edgehaul.vision.outputs import check_answer

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

ANOMALY_LABEL = "anomaly"
NORMAL_LABEL = "normal"
ANOMALY_HEADS = ("anomaly", "autoencoder")
CERTAIN_CONFIDENCE = 0.5
"""Confidence of a score that is just at the spec's threshold."""


def anomaly_score(outputs: Sequence[NDArray[Any]], tensor: NDArray[Any], spec: ModelSpec) -> float:
    """Return how unusual a model finds its input; compare with ``spec.output.score_threshold``.

    Args:
        outputs: The model's outputs for one input.
        tensor: That input, as it went into the model.
        spec: The model's spec.

    Raises:
        SpecMismatchError: The spec is not that of an anomaly model, or the outputs are not
            those of the spec.
    """
    if spec.output.head not in ANOMALY_HEADS:
        raise SpecMismatchError(
            f"head {spec.output.head!r} gives no score of an anomaly",
            remedy=f"give one of: {', '.join(ANOMALY_HEADS)}",
        )
    check_answer(spec, outputs)
    if spec.output.head == "anomaly":
        return float(np.asarray(outputs[0]).ravel()[0])
    rebuilt = np.asarray(outputs[0], dtype=np.float32)
    return float(np.mean((rebuilt - tensor.astype(np.float32)) ** 2))


def anomaly_confidence(score: float, threshold: float) -> float:
    """Return a score, which has no upper end, in 0..1: 0.5 at the threshold, rising with it."""
    if not score > 0:  # a broken model may answer NaN
        return 0.0
    return score / (score + threshold) if np.isfinite(score) else 1.0


def named_values(outputs: Sequence[NDArray[Any]], spec: ModelSpec) -> dict[str, float]:
    """Return what a regression model answers for one input, by the names of its labels.

    Raises:
        SpecMismatchError: The outputs are not those of the spec.
    """
    check_answer(spec, outputs)
    values = np.asarray(outputs[0], dtype=np.float64).ravel().tolist()
    return dict(zip(spec.output.labels, values, strict=True))
