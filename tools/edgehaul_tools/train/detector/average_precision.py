"""AP at IoU 0.5 during training; ``edgehaul verify`` measures the official figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgehaul.vision.decode import Detections
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet

_IOU = 0.5
_RECALL_STEPS = 101
"""Precision is averaged at 101 recalls, as COCO does."""


def mean_average_precision(found: Sequence[Detections], truth: CanvasSet, classes: int) -> float:
    """Return the mean over the classes that occur in ``truth`` of the AP at IoU 0.5.

    Args:
        found: Detections on each canvas of ``truth``, in canvas pixels.
        truth: The objects.
        classes: Number of classes.
    """
    present = [c for c in range(classes) if any((v == c).any() for v in truth.classes)]
    if not present:
        return 0.0
    return float(np.mean([_average_precision(found, truth, c) for c in present]))


def _average_precision(found: Sequence[Detections], truth: CanvasSet, class_id: int) -> float:
    scores, correct, objects = [], [], 0
    for detections, boxes, classes in zip(found, truth.boxes, truth.classes, strict=True):
        its_truth = boxes[classes == class_id]
        chosen = np.flatnonzero(detections.class_ids == class_id)
        order = chosen[np.argsort(-detections.scores[chosen], kind="stable")]
        hit = _matched(detections.boxes[order], its_truth)
        counted = hit | ~_matched(detections.boxes[order], boxes[classes == IGNORED])
        scores.append(detections.scores[order][counted])
        correct.append(hit[counted])
        objects += len(its_truth)
    ranking = np.argsort(-np.concatenate(scores), kind="stable")
    hits = np.cumsum(np.concatenate(correct)[ranking])
    if not len(hits):
        return 0.0
    recall = hits / objects
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    wanted = np.searchsorted(recall, np.linspace(0, 1, _RECALL_STEPS), side="left")
    return float(np.append(envelope, 0.0)[wanted].mean())


def _matched(boxes: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which boxes, best first, find an object that no better box has found."""
    result = np.zeros(len(boxes), dtype=np.bool_)
    if not len(truth):
        return result
    taken = np.zeros(len(truth), dtype=np.bool_)
    areas = np.prod(truth[:, 2:] - truth[:, :2], axis=1)
    for number, box in enumerate(boxes):
        sides = np.minimum(truth[:, 2:], box[2:]) - np.maximum(truth[:, :2], box[:2])
        shared = np.clip(sides, 0, None).prod(axis=1)
        overlap = shared / (areas + np.prod(box[2:] - box[:2]) - shared)
        best = int(np.argmax(np.where(taken, -1.0, overlap)))
        if not taken[best] and overlap[best] >= _IOU:
            taken[best] = result[number] = True
    return result
