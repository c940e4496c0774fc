"""What the output tensors of each detection head hold, turned into candidate boxes.

Each head is one function from a model's raw outputs to candidates in canvas pixels, one for
each place of the model whose best class reaches the score threshold. The shapes are those that
`edgehaul.vision.outputs` lets pass:

=========  ==========================================================================
edgehaul   ``boxes`` (1, N, 4) ``x1, y1, x2, y2`` in canvas pixels; ``scores`` (1, N, C)
yolox      (1, N, 5 + C): centre and log size in grid cells, objectness, class scores
nanodet    for each stride class scores (1, n, C) and side distributions (1, n, 32), in
           any order, or both side by side in one tensor (1, N, C + 32)
yolov8     (1, 4 + C, N) or (1, N, 4 + C): centre and size in canvas pixels, class scores
yolov5     (1, N, 5 + C): centre and size in canvas pixels, objectness, class scores
ssd        boxes (1, N, 4) ``x1, y1, x2, y2`` in 0..1 of the canvas and scores (1, N, C),
           or (1, N, 1 + C) with the background first; the boxes are the output of four
           columns, the first one where both have four
yunet      for each stride class score (1, n, 1), objectness (1, n, 1), box (1, n, 4) as centre
           in cells from the cell's corner and log size, and landmarks (1, n, 10), in any order
=========  ==========================================================================

Scores are probabilities: the sigmoid or softmax is part of the model. Sources: YOLOX
(Ge et al., 2021, ``demo_postprocess``), NanoDet (``distance2bbox`` with the distribution of
Generalized Focal Loss, Li et al., 2020), Ultralytics exports, UltraFace (Linzaer, RFB-320),
YuNet (Wu et al., 2023, "YuNet: A Tiny Millisecond-level Face Detector").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.bundle.spec import ImageInput, OutputSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX_VALUES = 4
OBJECTNESS = 4
"""Index of the objectness in a row of YOLOv5 and YOLOX."""
NANODET_BINS = 8
"""Bins of a side's distribution: distances of 0..7 cells (``reg_max`` 7)."""
NANODET_SIDES = BOX_VALUES * NANODET_BINS
DEFAULT_STRIDES = (8, 16, 32)
YUNET_POINTS = 10
"""Values of a face's five landmarks, which are not read."""
YUNET_OUTPUTS = 4
"""Tensors for each stride: class score, objectness, box, landmarks."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes before suppression: (N, 4) in canvas pixels, with scores (N,) and classes (N,)."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]


Outputs = Sequence["NDArray[np.float32]"]
Head = Callable[[Outputs, ImageInput, OutputSpec], Candidates]


def edgehaul_head(outputs: Outputs, _canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read boxes in canvas pixels and scores, as EdgeHaul exports them."""
    boxes, scores = outputs[0][0], outputs[1][0]
    rows, class_ids, best = _best_classes(scores, spec.score_threshold)
    return Candidates(boxes[rows], best, class_ids)


def ssd_head(outputs: Outputs, canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read boxes in 0..1 of the canvas and scores that may begin with the background."""
    boxes, scores = outputs[0][0], outputs[1][0]
    if boxes.shape[-1] != BOX_VALUES:
        boxes, scores = scores, boxes
    if spec.labels and scores.shape[-1] == len(spec.labels) + 1:
        scores = scores[:, 1:]
    rows, class_ids, best = _best_classes(scores, spec.score_threshold)
    size = np.array([canvas.width, canvas.height] * 2, dtype=np.float32)
    return Candidates(boxes[rows] * size, best, class_ids)


def yolov8_head(outputs: Outputs, _canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read centres, sizes and class scores, with the places along either axis."""
    table = outputs[0][0]
    if yolov8_is_channels_first(table.shape, len(spec.labels)):
        table = table.T
    rows, class_ids, best = _best_classes(table[:, BOX_VALUES:], spec.score_threshold)
    return Candidates(_from_centers(table[rows, :BOX_VALUES]), best, class_ids)


def yolov5_head(outputs: Outputs, _canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read centres, sizes, objectness and class scores, already in canvas pixels."""
    table = outputs[0][0]
    rows, class_ids, best = _best_with_objectness(table, spec.score_threshold)
    return Candidates(_from_centers(table[rows, :BOX_VALUES]), best, class_ids)


def yolox_head(outputs: Outputs, canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read centres and log sizes relative to each cell of the strides' grids."""
    table = outputs[0][0]
    corners, strides = grid(canvas.width, canvas.height, spec.strides or DEFAULT_STRIDES)
    rows, class_ids, best = _best_with_objectness(table, spec.score_threshold)
    boxes = _cell_boxes(table[rows, :BOX_VALUES], corners[rows], strides[rows, None])
    return Candidates(boxes, best, class_ids)


def nanodet_head(outputs: Outputs, canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read the distance of each side as the mean of a distribution over 0..7 cells."""
    scores, sides = _nanodet_tables(outputs)
    corners, strides = grid(canvas.width, canvas.height, spec.strides or DEFAULT_STRIDES)
    rows, class_ids, best = _best_classes(scores, spec.score_threshold)
    logits = sides[rows].reshape(-1, BOX_VALUES, NANODET_BINS)
    cell = strides[rows, None]
    distances = (softmax(logits) @ np.arange(NANODET_BINS, dtype=np.float32)) * cell
    centers = (corners[rows] + 0.5) * cell
    boxes = np.concatenate([centers - distances[:, :2], centers + distances[:, 2:]], axis=1)
    return Candidates(boxes, best, class_ids)


def yunet_head(outputs: Outputs, canvas: ImageInput, spec: OutputSpec) -> Candidates:
    """Read faces: the geometric mean of both scores, and boxes relative to each cell's corner."""
    corners, strides = grid(canvas.width, canvas.height, spec.strides or DEFAULT_STRIDES)
    # Each by itself: the product of two scores below 0 would be a good one.
    scores = np.sqrt(np.clip(_joined(outputs, 1), 0, 1).prod(axis=1, keepdims=True))
    rows, class_ids, best = _best_classes(scores, spec.score_threshold)
    boxes = _cell_boxes(_joined(outputs, BOX_VALUES)[rows], corners[rows], strides[rows, None])
    return Candidates(boxes, best, class_ids)


HEADS: dict[str, Head] = {
    "edgehaul": edgehaul_head,
    "nanodet": nanodet_head,
    "ssd": ssd_head,
    "yolov5": yolov5_head,
    "yolov8": yolov8_head,
    "yolox": yolox_head,
    "yunet": yunet_head,
}


@lru_cache(maxsize=16)
def grid(
    width: int, height: int, strides: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the top-left corner (N, 2) in cells and the stride (N,) of each grid cell.

    Row by row, for one stride after the other; the cells at the right and lower edges may
    reach beyond the canvas.
    """
    corners, sizes = [], []
    for stride in strides:
        columns, rows = -(-width // stride), -(-height // stride)
        y, x = np.mgrid[:rows, :columns]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))
        sizes.append(np.full(rows * columns, stride, dtype=np.float32))
    grids = np.concatenate(corners), np.concatenate(sizes)
    for array in grids:
        # Shared by every decoder of this size: nobody may change it.
        array.flags.writeable = False
    return grids


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis."""
    parts: NDArray[np.float32] = np.exp(logits - logits.max(axis=-1, keepdims=True))
    parts /= parts.sum(axis=-1, keepdims=True)
    return parts


def yolov8_is_channels_first(shape: Sequence[int], classes: int) -> bool:
    """Return whether (rows, columns) of a YOLOv8 output holds one place in each column.

    Decided by the number of classes where it is known, else by the shorter axis.
    """
    rows, columns = shape
    if classes and (rows == BOX_VALUES + classes) != (columns == BOX_VALUES + classes):
        return rows == BOX_VALUES + classes
    return rows < columns


def _nanodet_tables(outputs: Outputs) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scores (N, C) and side logits (N, 32), fine strides before coarse ones."""
    if len(outputs) == 1:
        table = outputs[0][0]
        return table[:, :-NANODET_SIDES], table[:, -NANODET_SIDES:]
    # Exporters order the tensors differently; a finer stride always has more rows.
    by_rows = sorted((output[0] for output in outputs), key=lambda table: -table.shape[0])
    scores, sides = [], []
    for first, second in zip(by_rows[::2], by_rows[1::2], strict=True):
        swapped = first.shape[1] == NANODET_SIDES != second.shape[1]
        scores.append(second if swapped else first)
        sides.append(first if swapped else second)
    return np.concatenate(scores), np.concatenate(sides)


def _joined(outputs: Outputs, columns: int) -> NDArray[np.float32]:
    """Return the tensors of so many columns, fine strides before coarse ones.

    Tensors of one stride, which have as many rows, lie side by side.
    """
    by_rows: dict[int, list[NDArray[np.float32]]] = {}
    for output in outputs:
        if output.shape[2] == columns:
            by_rows.setdefault(output.shape[1], []).append(output[0])
    finest_first = sorted(by_rows, reverse=True)
    return np.concatenate([np.concatenate(by_rows[rows], axis=1) for rows in finest_first])


def _cell_boxes(
    values: NDArray[np.float32], corners: NDArray[np.float32], cell: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return boxes of centres in cells from each cell's corner, and logs of sizes in cells."""
    # A runaway log size would overflow to infinity; 20 cells^e is beyond any canvas.
    sizes = np.exp(np.minimum(values[:, 2:], 20.0)) * cell
    centers = (values[:, :2] + corners) * cell
    return _from_centers(np.concatenate([centers, sizes], axis=1))


def _best_classes(
    scores: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows whose best class reaches ``threshold``, that class and its score."""
    rows = np.flatnonzero(scores.max(axis=1) >= threshold)
    chosen = scores[rows]
    class_ids = chosen.argmax(axis=1)
    return rows, class_ids, chosen[np.arange(len(rows)), class_ids]


def _best_with_objectness(
    table: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the same for rows whose class scores count times their objectness."""
    # Class scores are at most 1, so that most rows fall by their objectness alone.
    likely = np.flatnonzero(table[:, OBJECTNESS] >= threshold)
    scores = table[likely, OBJECTNESS + 1 :] * table[likely, OBJECTNESS, None]
    rows, class_ids, best = _best_classes(scores, threshold)
    return likely[rows], class_ids, best


def _from_centers(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``x1, y1, x2, y2`` of rows of centre x, centre y, width, height."""
    half = values[:, 2:] / 2
    return np.concatenate([values[:, :2] - half, values[:, :2] + half], axis=1)
