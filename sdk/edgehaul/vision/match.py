"""How far two sets of detections of the same picture agree."""

from __future__ import annotations

import numpy as np

from edgehaul.vision.decode import Detections
from edgehaul.vision.nms import iou_matrix


def match_detections(a: Detections, b: Detections, iou_threshold: float) -> tuple[int, int, int]:
    """Pair the detections of ``a`` and ``b``, those that overlap most first.

    Two detections can be a pair when their class is the same and their boxes overlap by at
    least ``iou_threshold``; each one is in one pair at most.

    Returns:
        Numbers of pairs, of detections only in ``a`` and of detections only in ``b``.
    """
    overlap = iou_matrix(a.boxes, b.boxes)
    overlap[a.class_ids[:, None] != b.class_ids[None, :]] = -1.0
    rows, columns = np.nonzero(overlap >= iou_threshold)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    used_a: set[int] = set()
    used_b: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in used_a and column not in used_b:
            used_a.add(row)
            used_b.add(column)
    return len(used_a), len(a) - len(used_a), len(b) - len(used_b)


def f1(matched: int, only_a: int, only_b: int) -> float:
    """Return the harmonic mean of precision and recall; 1 where nothing was found at all."""
    total = 2 * matched + only_a + only_b
    return 1.0 if total == 0 else 2 * matched / total
