"""Compare what the agent reported with what truly happened on the virtual devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from edgehaul.geometry import Box
from edgehaul.messages.payloads import DetectionsData
from edgehaul.virtual.conveyor import Conveyor, ConveyorFrame

SAME_OBJECT_IOU = 0.5


def confusion_of(
    conveyor: Conveyor, detections: Iterable[DetectionsData], labels: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Count true class against found class over the given frames.

    Parcels cut by the edge of the picture are neither right nor wrong, and neither is a
    detection that lies on one.

    Returns:
        Rows: the true classes, then "nothing there". Columns: the found classes, then "missed".
    """
    matrix = np.zeros((len(labels) + 1, len(labels) + 1), dtype=int)
    for data in detections:
        _add_frame(matrix, conveyor.frame(data.frame), data, labels)
    return tuple(tuple(int(v) for v in row) for row in matrix)


def _add_frame(
    matrix: np.ndarray, frame: ConveyorFrame, data: DetectionsData, labels: Sequence[str]
) -> None:
    left = list(data.objects)
    for parcel in frame.truth:
        row = labels.index(parcel.label)
        best = max(left, key=lambda o: o.box.iou(parcel.box), default=None)
        if best is None or best.box.iou(parcel.box) < SAME_OBJECT_IOU:
            matrix[row, -1] += 1
            continue
        left.remove(best)
        matrix[row, labels.index(best.label)] += 1
    for extra in left:
        if not _lies_on_any(extra.box, [p.box for p in frame.partial]):
            matrix[-1, labels.index(extra.label)] += 1


def _lies_on_any(box: Box, places: Sequence[Box]) -> bool:
    enough_iou = 0.3
    return any(box.iou(place) >= enough_iou for place in places)
