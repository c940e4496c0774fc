"""Drawing leaves the picture alone and never fails at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from edgehaul.geometry import Box, Line, Point, Polygon
from edgehaul.values import Detection
from edgehaul.vision.draw import draw_detections, draw_lines, draw_polygons


def blank() -> np.ndarray:
    return np.zeros((100, 160, 3), dtype=np.uint8)


def test_a_box_is_drawn_on_a_copy() -> None:
    image = blank()
    found = Detection(Box(40, 40, 90, 80), 0, "parcel", 0.87)
    drawn = draw_detections(image, [found], truth=[Box(10, 10, 30, 30)])
    assert not image.any()
    assert drawn[60, 40].any()
    assert drawn[60, 89].any()
    assert (drawn[20, 10] == 255).all()
    assert not drawn[60, 60].any()


@pytest.mark.parametrize("box", [Box(0, 0, 160, 100), Box(-50, -9, 900, 800), Box(5, 5, 5, 5)])
def test_boxes_at_and_beyond_the_edges_pass(box: Box) -> None:
    assert draw_detections(blank(), [Detection(box, 99, "x", 1.0)]).any()


@pytest.mark.parametrize(
    ("line", "arrow_on_right"),
    [
        (Line(Point(80, 10), Point(80, 90)), False),
        (Line(Point(80, 90), Point(80, 10)), True),
    ],
)
def test_the_arrow_points_forward(*, line: Line, arrow_on_right: bool) -> None:
    image = blank()
    drawn = draw_lines(image, [line])
    assert not image.any()
    on_left, on_right = drawn[:, :75].any(), drawn[:, 86:].any()
    assert (on_left, on_right) == (not arrow_on_right, arrow_on_right)
    x = 81.0 if arrow_on_right else 79.0
    assert line.crossed_by(Point(160 - x, 50), Point(x, 50)) == 1


def test_a_track_has_its_number_and_a_polygon_its_edge() -> None:
    found = [Detection(Box(40, 40, 90, 80), 0, "parcel", 0.87)]
    with_id = draw_detections(blank(), found, track_ids=[12])
    assert (with_id != draw_detections(blank(), found)).any()
    assert (
        draw_detections(blank(), found, track_ids=[None]) == draw_detections(blank(), found)
    ).all()
    triangle = Polygon((Point(20, 90), Point(140, 90), Point(80, 40)))
    image = blank()
    drawn = draw_polygons(
        image,
        [triangle, Polygon(tuple(Point(p.x + 90, p.y) for p in triangle.points))],
        names=["a", "b"],
    )
    assert not image.any()
    assert drawn[90, 80].any()
    assert not drawn[80, 80].any()
