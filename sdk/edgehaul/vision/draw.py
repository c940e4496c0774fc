"""Detections, truth and counting lines drawn on a picture, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgehaul.geometry import Box, Line, Point, Polygon
from edgehaul.values import Detection

if TYPE_CHECKING:
    from numpy.typing import NDArray

# BGR, far apart from each other and from the grey of a warehouse.
_PALETTE = (
    (56, 56, 255),
    (49, 210, 207),
    (10, 249, 72),
    (255, 194, 0),
    (255, 56, 132),
    (23, 204, 146),
    (147, 69, 52),
    (29, 178, 255),
)
_TRUTH_COLOR = (255, 255, 255)
_LINE_COLOR = (0, 215, 255)
_ZONE_COLOR = (255, 170, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_detections(
    image: NDArray[np.uint8],
    detections: Sequence[Detection],
    *,
    truth: Sequence[Box] | None = None,
    track_ids: Sequence[int | None] | None = None,
) -> NDArray[np.uint8]:
    """Return a copy of the picture with each box, its label and its score.

    Args:
        image: (height, width, 3) uint8 BGR.
        detections: What was found, in pixels of ``image``.
        truth: What is really there; drawn thin and white.
        track_ids: Number of the track of each of ``detections``, where it has one.
    """
    picture = image.copy()
    thickness = max(1, round(min(picture.shape[:2]) / 300))
    for box in truth or ():
        cv2.rectangle(picture, *_corners(box), _TRUTH_COLOR, 1)
    ids = track_ids if track_ids is not None else [None] * len(detections)
    for found, track_id in zip(detections, ids, strict=True):
        color = _PALETTE[found.class_id % len(_PALETTE)]
        cv2.rectangle(picture, *_corners(found.box), color, thickness)
        name = found.label if track_id is None else f"{found.label} #{track_id}"
        _write(picture, f"{name} {found.score:.2f}", found.box, color)
    return picture


def draw_lines(image: NDArray[np.uint8], lines: Sequence[Line]) -> NDArray[np.uint8]:
    """Return a copy of the picture with each line and an arrow in its forward direction.

    Forward is the direction for which :meth:`edgehaul.geometry.Line.crossed_by` returns 1.
    """
    picture = image.copy()
    for line in lines:
        cv2.line(picture, _pixel(line.start), _pixel(line.end), _LINE_COLOR, 2)
        middle = Point((line.start.x + line.end.x) / 2, (line.start.y + line.end.y) / 2)
        across = (line.start.y - line.end.y, line.end.x - line.start.x)
        length = max(1.0, float(np.hypot(*across)))
        reach = min(picture.shape[:2]) / 12 / length
        tip = Point(middle.x + across[0] * reach, middle.y + across[1] * reach)
        if line.crossed_by(Point(2 * middle.x - tip.x, 2 * middle.y - tip.y), tip) < 0:
            tip = Point(2 * middle.x - tip.x, 2 * middle.y - tip.y)
        cv2.arrowedLine(picture, _pixel(middle), _pixel(tip), _LINE_COLOR, 2, tipLength=0.3)
    return picture


def draw_polygons(
    image: NDArray[np.uint8], polygons: Sequence[Polygon], *, names: Sequence[str]
) -> NDArray[np.uint8]:
    """Return a copy of the picture with the edge of each polygon and its name.

    Args:
        image: (height, width, 3) uint8 BGR.
        polygons: In pixels of ``image``; they may reach over its edges.
        names: Of each polygon.
    """
    picture = image.copy()
    for polygon, name in zip(polygons, names, strict=True):
        corners = np.array([_pixel(point) for point in polygon.points], np.int32)
        cv2.polylines(picture, [corners], isClosed=True, color=_ZONE_COLOR, thickness=2)
        top = min(polygon.points, key=lambda point: (point.y, point.x))
        _write(picture, name, Box(top.x, top.y, top.x, top.y), _ZONE_COLOR)
    return picture


def _write(picture: NDArray[np.uint8], text: str, box: Box, color: tuple[int, int, int]) -> None:
    """Write above the box, or inside where there is no room, black on its colour."""
    scale = max(0.35, min(picture.shape[:2]) / 1200)
    (width, height), below = cv2.getTextSize(text, _FONT, scale, 1)
    x, y = (max(0, position) for position in _pixel(Point(box.x1, box.y1)))
    y = y if y >= height + below else y + height + below
    cv2.rectangle(picture, (x, y - height - below), (x + width, y), color, cv2.FILLED)
    cv2.putText(picture, text, (x, y - below // 2), _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)


def _corners(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    # A box ends before x2, y2; OpenCV draws both corners.
    return _pixel(Point(box.x1, box.y1)), _pixel(Point(box.x2 - 1, box.y2 - 1))


def _pixel(point: Point) -> tuple[int, int]:
    return round(point.x), round(point.y)
