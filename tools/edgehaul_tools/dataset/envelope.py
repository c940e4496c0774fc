"""Upright boxes around marks of other kinds: outlines, and boxes that stand askew."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgehaul.geometry import Box, Point


def box_around(points: Iterable[Point]) -> Box:
    """Return the smallest upright box that holds all points, of which there is at least one."""
    held = list(points)
    xs, ys = [point.x for point in held], [point.y for point in held]
    return Box(min(xs), min(ys), max(xs), max(ys))


def box_around_turned(box: Box, angle_deg: float, pivot: Point) -> Box:
    """Return the smallest upright box that holds a box turned clockwise on screen.

    Args:
        box: Before it is turned.
        angle_deg: The angle in degrees.
        pivot: The point that stays where it is.
    """
    if angle_deg == 0:
        return box
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    corners = [(x - pivot.x, y - pivot.y) for x in (box.x1, box.x2) for y in (box.y1, box.y2)]
    return box_around(
        Point(pivot.x + cosine * x - sine * y, pivot.y + sine * x + cosine * y) for x, y in corners
    )
