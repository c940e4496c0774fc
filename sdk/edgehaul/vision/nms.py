"""Overlap between boxes, and greedy non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


BLOCK = 64
"""Boxes compared with each other at a time."""
FEW = 500
"""Up to so many boxes OpenCV is the faster one, by two to three times for a camera's frame; it does
not stop at a limit, and takes as many times longer for some thousands."""


def iou_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a: Boxes (N, 4) as ``x1, y1, x2, y2``.
        b: Boxes (M, 4) in the same pixels.

    Returns:
        (N, M) in 0..1; 0 where the union is empty.
    """
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    union = _areas(a)[:, None] + _areas(b)[None, :] - shared
    overlap: NDArray[np.float32] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return overlap


def nms(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    iou_threshold: float,
    *,
    class_ids: NDArray[np.int64] | None = None,
    limit: int | None = None,
) -> NDArray[np.int64]:
    """Keep the best of overlapping boxes (greedy, as in Felzenszwalb et al., 2010).

    The best box is kept and every box that overlaps it by more than ``iou_threshold`` is
    dropped, then the best of the rest, and so on. Of equal scores the first one wins.

    Args:
        boxes: (N, 4) as ``x1, y1, x2, y2``, each with an area.
        scores: (N,), higher is better.
        iou_threshold: Overlap above which a box is dropped.
        class_ids: (N,); where given, only boxes of the same class drop each other.
        limit: Most boxes kept.

    Returns:
        Indices of the kept boxes, best first.
    """
    if len(scores) <= FEW and (scores > 0).all():  # OpenCV leaves out what scores nothing
        return _by_opencv(boxes, scores, iou_threshold, class_ids)[:limit]
    order = np.argsort(-scores, kind="stable")
    limit = order.size if limit is None else limit
    kept: list[int] = []
    while order.size and len(kept) < limit:
        # In blocks: one large matrix is slow for many boxes, one row at a time for few.
        block, order = order[:BLOCK], order[BLOCK:]
        chosen = block[_undropped(_overlapping(boxes, class_ids, block, block, iou_threshold))]
        kept.extend(chosen.tolist())
        if order.size:
            dropped = _overlapping(boxes, class_ids, chosen, order, iou_threshold).any(axis=0)
            order = order[~dropped]
    return np.asarray(kept[:limit], dtype=np.int64)


def _by_opencv(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    iou_threshold: float,
    class_ids: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    rectangles = boxes.astype(np.float64)
    rectangles[:, 2:] -= rectangles[:, :2]
    if class_ids is None:
        kept = cv2.dnn.NMSBoxes(rectangles, scores, 0.0, iou_threshold)  # type: ignore[arg-type]  # an array is a sequence of rectangles
    else:
        classes = class_ids.astype(np.int32)
        kept = cv2.dnn.NMSBoxesBatched(
            rectangles,  # type: ignore[arg-type]  # as above
            scores,  # type: ignore[arg-type]  # as above
            classes,  # type: ignore[arg-type]  # as above
            0.0,
            iou_threshold,
        )
    return np.asarray(kept, dtype=np.int64).reshape(-1)


def _overlapping(
    boxes: NDArray[np.float32],
    class_ids: NDArray[np.int64] | None,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.bool_]:
    """Return whether each box of ``rows`` would drop each box of ``columns``.

    Without a division: ``shared / (a + b - shared) > t`` is ``shared (1 + t) > t (a + b)``.
    """
    a, b = boxes[rows], boxes[columns]
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides -= np.maximum(a[:, None, :2], b[None, :, :2])
    np.maximum(sides, 0.0, out=sides)
    shared = sides[..., 0] * sides[..., 1]
    both = _areas(a)[:, None] + _areas(b)[None, :]
    overlapping: NDArray[np.bool_] = shared * (1 + iou_threshold) > both * iou_threshold
    if class_ids is not None:
        overlapping &= class_ids[rows][:, None] == class_ids[columns][None, :]
    return overlapping


def _undropped(overlapping: NDArray[np.bool_]) -> list[int]:
    """Return the rows that no earlier returned row drops."""
    count = len(overlapping)
    np.fill_diagonal(overlapping, val=False)
    if not overlapping.any():
        return list(range(count))
    dropped = np.zeros(count, dtype=np.bool_)
    kept = []
    for row, drops in enumerate(overlapping):
        if not dropped[row]:
            kept.append(row)
            dropped |= drops
    return kept


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    areas: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return areas
