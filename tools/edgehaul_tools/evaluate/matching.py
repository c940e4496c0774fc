"""Which detections find which objects, by COCO's rules, once for all resamples.

Source: pycocotools ``COCOeval.evaluateImg`` (T.-Y. Lin et al., 2014): of each class the best
detection first takes the object that it overlaps most; what is ignored, or outside the range of
sizes, counts neither for nor against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import Box
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import Sample

IOUS = np.linspace(0.5, 0.95, 10)
"""The overlaps that mAP50-95 is the mean over."""
MOST_DETECTIONS = 100
"""For each picture and class."""
EVERY_SIZE = (0.0, 1e10)
SIZES = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""Areas in square pixels of the picture, from and to."""


@dataclass(frozen=True, eq=False)
class ClassMatches:
    """The detections of one class in all pictures, the highest score first.

    Attributes:
        scores: (D,) float64.
        picture: (D,) index of the picture.
        hit: (T, D) whether it finds an object at each of ``IOUS``.
        counted: (T, D) whether it counts.
        objects: (pictures,) number of objects that count.
    """

    scores: NDArray[np.float64]
    picture: NDArray[np.int64]
    hit: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    objects: NDArray[np.float64]


def match_classes(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    classes: int,
    size: tuple[float, float] = EVERY_SIZE,
) -> tuple[ClassMatches, ...]:
    """Match the detections of each class.

    Args:
        found: What was found in each picture; scores are numbers.
        samples: The pictures.
        classes: Number of classes.
        size: Area of the objects that count, from and to.
    """
    return tuple(_match_class(found, samples, c, size) for c in range(classes))


def _match_class(
    found: Sequence[Detections],
    samples: Sequence[Sample],
    class_id: int,
    size: tuple[float, float],
) -> ClassMatches:
    hits, counted, scores, pictures = [], [], [], []
    objects = np.zeros(len(samples))
    for number, (detections, sample) in enumerate(zip(found, samples, strict=True)):
        marks = [mark.box for mark in sample.boxes if mark.class_id == class_id]
        chosen = np.flatnonzero(detections.class_ids == class_id)
        order = np.argsort(-detections.scores[chosen].astype(np.float64), kind="stable")
        chosen = chosen[order[:MOST_DETECTIONS]]
        truth = corners_of([*marks, *sample.ignored])
        crowd = np.arange(len(truth)) >= len(marks)
        ignored = crowd | _outside(_areas(truth), size)
        objects[number] = np.sum(~ignored)
        boxes = detections.boxes[chosen].astype(np.float64)
        hit, ignorable = _match_picture(boxes, truth, crowd, ignored)
        hits.append(hit)
        counted.append(~(ignorable | (~hit & _outside(_areas(boxes), size))))
        scores.append(detections.scores[chosen].astype(np.float64))
        pictures.append(np.full(len(chosen), number))
    ranking = np.argsort(-np.concatenate(scores), kind="stable")
    return ClassMatches(
        scores=np.concatenate(scores)[ranking],
        picture=np.concatenate(pictures)[ranking].astype(np.int64),
        hit=np.concatenate(hits, axis=1)[:, ranking],
        counted=np.concatenate(counted, axis=1)[:, ranking],
        objects=objects,
    )


def _match_picture(
    boxes: NDArray[np.float64],
    truth: NDArray[np.float64],
    crowd: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return (T, D) which boxes, best first, find an object, and which an ignored one."""
    hit = np.zeros((len(IOUS), len(boxes)), dtype=np.bool_)
    ignorable = np.zeros_like(hit)
    if not len(truth) or not len(boxes):
        return hit, ignorable
    overlap = overlaps(boxes, truth, crowd)
    free = np.ones((len(IOUS), len(truth)), dtype=np.bool_)
    for number, row in enumerate(overlap):
        for wanted, taken in ((~ignored, hit), (ignored, ignorable)):
            left = np.where(free & wanted & ~hit[:, [number]], row, -1.0)
            # Of equal overlaps the last one, as there.
            best = len(truth) - 1 - left[:, ::-1].argmax(axis=1)
            enough = np.flatnonzero(left[np.arange(len(IOUS)), best] >= IOUS)
            taken[enough, number] = True
            free[enough, best[enough]] = crowd[best[enough]]
    return hit, ignorable


def corners_of(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """Return boxes as (n, 4) ``x1, y1, x2, y2``."""
    return np.array([(b.x1, b.y1, b.x2, b.y2) for b in boxes], dtype=np.float64).reshape(-1, 4)


def overlaps(
    boxes: NDArray[np.float64], truth: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return IoU (D, G); with a crowd the share of the box that lies in it."""
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    sides = np.maximum(np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - corner, 0.0)
    shared = sides.prod(axis=2)
    own = _areas(boxes)[:, None]
    union = np.where(crowd[None], own, own + _areas(truth)[None] - shared)
    result: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return result


def _areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0).prod(axis=1)
    return area


def _outside(areas: NDArray[np.float64], size: tuple[float, float]) -> NDArray[np.bool_]:
    return np.asarray((areas < size[0]) | (areas > size[1]))
