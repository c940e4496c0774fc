"""From a model's raw outputs to detections in the original picture, or to classes.

What each head's tensors hold is written in :mod:`edgehaul.vision.heads` and
:mod:`edgehaul.vision.selected`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import SpecMismatchError
from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul.vision.heads import HEADS, Candidates, softmax
from edgehaul.vision.nms import nms
from edgehaul.vision.outputs import AnswerCheck, check_answer, check_outputs
from edgehaul.vision.placement import Placement
from edgehaul.vision.selected import SELECTED_HEADS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoder", "Detections", "check_outputs", "classify", "decoder_for"]

MAX_CANDIDATES = 3000
"""Boxes that enter suppression, best first: bounds the time of a very low threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one picture, best first.

    Attributes:
        boxes: (N, 4) float32 ``x1, y1, x2, y2`` in pixels of the original picture.
        scores: (N,) float32 in 0..1.
        class_ids: (N,) int64, indices into the model's labels.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]

    @classmethod
    def empty(cls) -> Detections:
        """Return no detections."""
        return cls(
            np.zeros((0, 4), dtype=np.float32),
            np.zeros(0, dtype=np.float32),
            np.zeros(0, dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, score_threshold: float) -> Detections:
        """Return those whose score is at least ``score_threshold``."""
        chosen = self.scores >= score_threshold
        return Detections(self.boxes[chosen], self.scores[chosen], self.class_ids[chosen])

    def to_values(self, labels: Sequence[str]) -> tuple[Detection, ...]:
        """Return frozen values; a class beyond ``labels`` is named by its number."""
        rows = zip(self.boxes.tolist(), self.class_ids.tolist(), self.scores.tolist(), strict=True)
        return tuple(
            Detection(Box(*box), index, labels[index] if index < len(labels) else str(index), score)
            for box, index, score in rows
        )


Decoder = Callable[[Sequence["NDArray[np.float32]"], Placement], Detections]
"""From a model's outputs, in its own order, and the picture's placement to detections.

Raises SpecMismatchError where the outputs are not those of the spec.
"""


def decoder_for(spec: ModelSpec) -> Decoder:
    """Return the decoder of a detector: threshold, suppression, original pixels, clipping.

    Raises:
        SpecMismatchError: The spec is not that of a detector.
    """
    canvas, output = spec.input, spec.output
    head = (HEADS | SELECTED_HEADS).get(output.head)
    if head is None or not isinstance(canvas, ImageInput):
        raise SpecMismatchError(
            f"head {output.head!r} gives no boxes",
            remedy=f"detectors have one of: {', '.join(sorted(HEADS | SELECTED_HEADS))}",
        )

    check = AnswerCheck(spec)

    def decode(outputs: Sequence[NDArray[np.float32]], placement: Placement) -> Detections:
        check(outputs)
        return _finish(head(outputs, canvas, output), placement, output)

    return decode


def classify(
    outputs: Sequence[NDArray[np.float32]], spec: ModelSpec
) -> tuple[tuple[str, float], ...]:
    """Return each label with its probability, likeliest first.

    The softmax is taken only where the outputs are not already probabilities.

    Args:
        outputs: The model's outputs; the first one holds C values for one picture.
        spec: The model's spec; where it has no labels, classes are named by their number.

    Raises:
        SpecMismatchError: The outputs are not those of the spec.
    """
    check_answer(spec, outputs)
    values = np.asarray(outputs[0], dtype=np.float32).ravel()
    if values.min() < 0 or abs(float(values.sum()) - 1.0) > 1e-3:  # noqa: PLR2004 - rounding
        values = softmax(values)
    labels = spec.output.labels
    order = np.argsort(-values, kind="stable").tolist()
    return tuple((labels[i] if i < len(labels) else str(i), float(values[i])) for i in order)


def _finish(found: Candidates, placement: Placement, spec: OutputSpec) -> Detections:
    boxes = placement.boxes_to_original(found.boxes)
    # A broken model may answer NaN; a box in the padding has nothing left after clipping.
    usable = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    if usable.size > MAX_CANDIDATES:
        best = np.argsort(-found.scores[usable], kind="stable")[:MAX_CANDIDATES]
        usable = usable[best]
    boxes, scores, class_ids = boxes[usable], found.scores[usable], found.class_ids[usable]
    if spec.head in SELECTED_HEADS:
        kept = np.argsort(-scores, kind="stable")[: spec.max_detections]
        return Detections(boxes[kept], scores[kept], class_ids[kept])
    kept = nms(
        boxes,
        scores,
        spec.iou_threshold,
        class_ids=None if spec.class_agnostic else class_ids,
        limit=spec.max_detections,
    )
    return Detections(boxes[kept], scores[kept], class_ids[kept])
