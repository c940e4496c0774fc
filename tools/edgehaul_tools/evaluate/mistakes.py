"""What a detector takes for what, and its worst mistakes, at the threshold it reports from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import Sample
from edgehaul_tools.evaluate.matching import corners_of, overlaps
from edgehaul_tools.evaluate.result import Confusion

SAME_OBJECT_IOU = 0.5
_ON_IGNORED = 0.5
_NOTHING = "(nothing there)"
_MISSED = "(missed)"


@dataclass(frozen=True)
class Mistake:
    """A mistake of a detector.

    Attributes:
        kind: ``false`` where nothing is, ``confused`` with another class, or ``missed``.
        picture: Index of the picture.
        box: What was found, or of a missed object where it is.
        found: Class that was found; -1 of a missed object.
        true: Class that it is; -1 where nothing is.
        score: Of the detection; 0 of a missed object.
        overlap: Of a false one with the object nearest to it: from 0.5 on that was found by
            another detection already.
    """

    kind: Literal["false", "confused", "missed"]
    picture: int
    box: Box
    found: int
    true: int
    score: float
    overlap: float = 0.0


def judge(
    found: Sequence[Detections], samples: Sequence[Sample], labels: Sequence[str]
) -> tuple[Confusion, list[Mistake]]:
    """Return the confusion matrix and every mistake.

    The best detection first takes the object that it overlaps most, of its own class where
    there is one; what is left may be an object taken for another class.

    Args:
        found: Detections of each picture that are reported.
        samples: The pictures.
        labels: Names of the classes.
    """
    matrix = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
    mistakes: list[Mistake] = []
    for number, (detections, sample) in enumerate(zip(found, samples, strict=True)):
        _judge_picture(matrix, mistakes, number, detections, sample)
    confusion = Confusion(
        rows=(*labels, _NOTHING),
        columns=(*labels, _MISSED),
        counts=tuple(tuple(int(v) for v in row) for row in matrix),
    )
    return confusion, mistakes


def worst(mistakes: Sequence[Mistake], kind: str, limit: int) -> list[Mistake]:
    """Return the worst mistakes of a kind: the surest, or the largest objects missed.

    Of one picture no more than two are taken, so that not all are of the same.
    """
    chosen: list[Mistake] = []
    of_kind = [m for m in mistakes if m.kind == kind]
    for mistake in sorted(of_kind, key=lambda m: (-m.score, -m.box.area)):
        if sum(m.picture == mistake.picture for m in chosen) < 2:  # noqa: PLR2004 - see above
            chosen.append(mistake)
        if len(chosen) == limit:
            break
    return chosen


def _judge_picture(
    matrix: NDArray[np.int64],
    mistakes: list[Mistake],
    number: int,
    found: Detections,
    sample: Sample,
) -> None:
    true = np.array([mark.class_id for mark in sample.boxes], dtype=np.int64)
    boxes = found.boxes.astype(np.float64)
    overlap = overlaps(boxes, corners_of([m.box for m in sample.boxes]), np.zeros(len(true), bool))
    taken = _pairs(overlap, found, true)
    ignored = corners_of(sample.ignored)
    excused = overlaps(boxes, ignored, np.ones(len(ignored), bool)) >= _ON_IGNORED
    for index, box in enumerate(found.boxes.tolist()):
        class_id, score = int(found.class_ids[index]), float(found.scores[index])
        object_id = taken.get(index)
        if object_id is None:
            if not excused[index].any():
                matrix[-1, class_id] += 1
                near = float(overlap[index].max(initial=0.0))
                mistakes.append(Mistake("false", number, Box(*box), class_id, -1, score, near))
            continue
        matrix[true[object_id], class_id] += 1
        if true[object_id] != class_id:
            is_ = int(true[object_id])
            mistakes.append(Mistake("confused", number, Box(*box), class_id, is_, score))
    for object_id in sorted(set(range(len(true))) - set(taken.values())):
        class_id = int(true[object_id])
        matrix[class_id, -1] += 1
        box_ = sample.boxes[object_id].box
        mistakes.append(Mistake("missed", number, box_, -1, class_id, 0.0))


def _pairs(
    overlap: NDArray[np.float64], found: Detections, true: NDArray[np.int64]
) -> dict[int, int]:
    """Return the object of each detection that has one."""
    taken: dict[int, int] = {}
    same = found.class_ids[:, None] == true[None, :]
    order = np.argsort(-found.scores, kind="stable").tolist()
    for allowed in (same, ~same):
        for index in order:
            if index in taken or not len(true):
                continue
            left = np.where(allowed[index], overlap[index], -1.0)
            left[list(taken.values())] = -1.0
            best = int(left.argmax())
            if left[best] >= SAME_OBJECT_IOU:
                taken[index] = best
    return taken
