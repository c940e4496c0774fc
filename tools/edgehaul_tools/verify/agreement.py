"""Agreement with fp32 input by input, so that it can be resampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec
from edgehaul.vision.match import f1, match_detections
from edgehaul_tools.quantize.answers import AGREEMENT_IOU, Agreement, Answers

METRIC = "agreement"
_MATCHED, _ONLY_FP32, _ONLY_VARIANT = 0, 1, 2
_MOVE = 0.1
"""As :meth:`Answers.agreement_of` judges numbers."""


@dataclass(frozen=True, eq=False)
class AgreementScores:
    """How far a variant's answers agree with those of fp32, for each input.

    Attributes:
        counts: (n, 3) detections (or inputs) that agree, of fp32 alone, of the variant alone.
    """

    counts: NDArray[np.int64]

    @property
    def units(self) -> NDArray[np.int64]:
        """(n,) each input is a unit of its own."""
        return np.arange(len(self.counts), dtype=np.int64)

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return the agreement, 1 where nothing was found at all; see ``Scores``."""
        matched, only_fp32, only_variant = weights @ self.counts
        total = 2 * matched + only_fp32 + only_variant
        return {METRIC: float(2 * matched / total) if total else 1.0}

    @property
    def agreement(self) -> Agreement:
        """The agreement on all inputs."""
        matched, only_fp32, only_variant = (int(v) for v in self.counts.sum(axis=0))
        share = f1(matched, only_fp32, only_variant)
        return Agreement(share, matched, only_fp32, only_variant, len(self.counts))


def agreement_scores(expected: Answers, got: Answers, spec: ModelSpec) -> AgreementScores:
    """Compare a variant's answers with those of fp32 on the same inputs, one by one."""
    if expected.detections or got.detections:
        pairs = zip(expected.detections, got.detections, strict=True)
        rows = [match_detections(a, b, AGREEMENT_IOU) for a, b in pairs]
        return AgreementScores(np.array(rows, np.int64).reshape(-1, 3))
    if expected.numbers or got.numbers:
        same = _same_numbers(np.stack(expected.numbers), np.stack(got.numbers), spec)
    else:
        same = np.array(expected.classes) == np.array(got.classes)
    counts = np.zeros((len(same), 3), np.int64)
    counts[:, _MATCHED] = same
    counts[:, _ONLY_FP32] = counts[:, _ONLY_VARIANT] = ~same
    return AgreementScores(counts)


def _same_numbers(
    expected: NDArray[np.float64], got: NDArray[np.float64], spec: ModelSpec
) -> NDArray[np.bool_]:
    """Return (n,) for which inputs all numbers moved little, and no verdict changed."""
    if spec.output.head == "regress":
        allowed = np.maximum(_MOVE * expected.std(axis=0), 1e-9)
        return np.asarray((np.abs(got - expected) <= allowed).all(axis=1))
    threshold = spec.output.score_threshold
    close = np.abs(got - expected) <= _MOVE * np.maximum(expected, threshold)
    return np.asarray((close & ((got >= threshold) == (expected >= threshold))).all(axis=1))
