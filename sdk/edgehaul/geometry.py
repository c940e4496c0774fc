"""Boxes, lines and polygons in pixels, and distances on the Earth.

Image coordinates have their origin at the top left, x to the right, y down.
"""

from __future__ import annotations

import itertools
import math
from typing import Self

import msgspec

EARTH_RADIUS_M = 6_371_008.8
"""Mean radius of the Earth (IUGG)."""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A point in pixels."""

    x: float
    y: float


class Box(msgspec.Struct, frozen=True, array_like=True):
    """An axis-aligned box in pixels, ``x2`` and ``y2`` exclusive.

    Written as ``[x1, y1, x2, y2]`` in JSON and YAML.
    """

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def from_xywh(cls, x: float, y: float, width: float, height: float) -> Self:
        """Return the box whose top-left corner is ``(x, y)`` (the form of COCO)."""
        return cls(x, y, x + width, y + height)

    @property
    def width(self) -> float:
        """The extent in x, in pixels; never negative."""
        return max(0.0, self.x2 - self.x1)

    @property
    def height(self) -> float:
        """The extent in y, in pixels; never negative."""
        return max(0.0, self.y2 - self.y1)

    @property
    def area(self) -> float:
        """The area in square pixels."""
        return self.width * self.height

    @property
    def center(self) -> Point:
        """The middle of the box."""
        return Point((self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2)

    def clipped(self, width: float, height: float) -> Self:
        """Return the part of the box inside an image of ``width`` x ``height``."""
        return type(self)(
            min(max(self.x1, 0.0), width),
            min(max(self.y1, 0.0), height),
            min(max(self.x2, 0.0), width),
            min(max(self.y2, 0.0), height),
        )

    def rounded(self, digits: int = 2) -> Self:
        """Return the box as messages carry it: a hundredth of a pixel is exact enough."""
        return type(self)(*(round(value, digits) for value in (self.x1, self.y1, self.x2, self.y2)))

    def iou(self, other: Box) -> float:
        """Return the intersection over union with ``other``, 0 where both are empty."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        return shared / (self.area + other.area - shared)


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A directed segment in pixels, from ``start`` to ``end``; written as ``[[x, y], [x, y]]``."""

    start: Point
    end: Point

    def side(self, point: Point) -> float:
        """Return > 0 to the right of the direction of travel as seen on screen, < 0 to the left."""
        return (self.end.x - self.start.x) * (point.y - self.start.y) - (
            self.end.y - self.start.y
        ) * (point.x - self.start.x)

    def crossed_by(self, before: Point, after: Point) -> int:
        """Return +1 where the step crosses the segment to its right side, -1 to its left, else 0.

        A point that lies on the line counts as its right side, so that a path which stops
        on the line and goes on is counted once.
        """
        was_right, is_right = self.side(before) >= 0, self.side(after) >= 0
        if was_right == is_right:
            return 0
        # Always looked at from left to right: the way back then crosses where the way there did,
        # also where both pass exactly through an end of the segment.
        step = Line(before, after) if is_right else Line(after, before)
        if (step.side(self.start) >= 0) == (step.side(self.end) >= 0):
            return 0
        return 1 if is_right else -1

    def distance_px(self, point: Point) -> float:
        """Return the distance of ``point`` from the segment, in pixels."""
        along_x, along_y = self.end.x - self.start.x, self.end.y - self.start.y
        from_x, from_y = point.x - self.start.x, point.y - self.start.y
        square = along_x * along_x + along_y * along_y
        part = (along_x * from_x + along_y * from_y) / square if square > 0 else 0.0
        part = min(max(part, 0.0), 1.0)
        return math.hypot(from_x - part * along_x, from_y - part * along_y)

    def meets(self, other: Line) -> bool:
        """Return whether the two segments have a point in common, ends included."""
        a, b = self.side(other.start), self.side(other.end)
        c, d = other.side(self.start), other.side(self.end)
        if (a > 0) != (b > 0) and (c > 0) != (d > 0) and a and b and c and d:
            return True
        touching = (
            (a, other.start, self),
            (b, other.end, self),
            (c, self.start, other),
            (d, self.end, other),
        )
        return any(not side and line.spans(point) for side, point, line in touching)

    def spans(self, point: Point) -> bool:
        """Return whether ``point`` is within the rectangle that the segment is a diagonal of."""
        return min(self.start.x, self.end.x) <= point.x <= max(self.start.x, self.end.x) and min(
            self.start.y, self.end.y
        ) <= point.y <= max(self.start.y, self.end.y)


class Polygon(msgspec.Struct, frozen=True, array_like=True):
    """A closed polygon in pixels."""

    points: tuple[Point, ...]

    @property
    def sides(self) -> tuple[Line, ...]:
        """The sides, from each point to the next one and from the last to the first."""
        return tuple(map(Line, self.points, self.points[1:] + self.points[:1]))

    @property
    def area(self) -> float:
        """The area in square pixels, by the shoelace formula; of a simple polygon."""
        return abs(sum(s.start.x * s.end.y - s.end.x * s.start.y for s in self.sides)) / 2

    def distance_px(self, point: Point) -> float:
        """Return the distance of ``point`` from the border, in pixels, inside and outside."""
        return min(side.distance_px(point) for side in self.sides)

    def crossing_sides(self) -> tuple[int, int] | None:
        """Return two sides that meet elsewhere than at a corner they share; none if simple.

        A side is named by the index of its first point.
        """
        sides, count = self.sides, len(self.points)
        for first, second in itertools.combinations(range(count), 2):
            a, b = sides[first], sides[second]
            if second - first in (1, count - 1):
                if second - first != 1:
                    a, b = b, a
                # Neighbours meet at their corner; they must not lie upon each other.
                back = (a.start.x - a.end.x) * (b.end.x - b.start.x) + (a.start.y - a.end.y) * (
                    b.end.y - b.start.y
                )
                if a.side(b.end) == 0 and back > 0:
                    return first, second
            elif a.meets(b):
                return first, second
        return None

    def contains(self, point: Point) -> bool:
        """Return whether ``point`` is inside, by the even-odd rule."""
        inside = False
        for index, a in enumerate(self.points):
            b = self.points[index - 1]
            if (a.y > point.y) != (b.y > point.y):
                crossing_x = (b.x - a.x) * (point.y - a.y) / (b.y - a.y) + a.x
                inside ^= point.x < crossing_x
        return inside


def haversine_m(lat1_deg: float, lon1_deg: float, lat2_deg: float, lon2_deg: float) -> float:
    """Return the great-circle distance in metres between two places (haversine formula)."""
    lat1, lat2 = math.radians(lat1_deg), math.radians(lat2_deg)
    half_lat = (lat2 - lat1) / 2
    half_lon = math.radians(lon2_deg - lon1_deg) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(chord)))
