"""The zones of a camera stream in ``device.yaml``."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.section import Section
from edgehaul.geometry import Point, Polygon

Seconds = Annotated[float, Meta(ge=0, le=7 * 86_400.0)]
Anchor = Literal["auto", "bottom", "center"]
ZoneKind = Literal["area", "dock", "queue"]

MOST_POINTS = 64
REACH_PX = 32_768
"""No camera's picture is larger; a zone may reach over its edges as far again."""
_LEAST_POINTS = 3


class ZoneConfig(Section, frozen=True, kw_only=True):
    """A part of the picture in which objects are watched.

    Attributes:
        name: Name in the events.
        points: Corners ``[[x, y], [x, y], ...]`` in pixels of the original frame, either way
            round; the sides must not cross. It may reach over the picture's edges.
        kind: ``area`` tells how many objects are inside, ``dock`` whether a vehicle stands
            there, ``queue`` how many wait and for how long. All tell who enters and leaves.
        labels: Only objects of these classes; empty for all.
        anchor: The point of an object that is inside or not: ``bottom`` (centre of the box's
            lower edge), ``center``, or ``auto``: bottom for people and vehicles, which stand on
            the ground, and centre for all else.
        margin_px: How far outside an object must be to have left; none is 15 % of its size.
        dwell_after_s: Tell of an object that stays longer than this; none tells of none.
        max_objects: More than these are too many; none is never too many.
        overcrowded_after_s: Tell of too many when they stay too many for longer than this.
        settle_s: How long a new number of objects, or a dock's new state, must hold before it
            is told; in a queue also how long an object must be inside to count as waiting.
        left_after_s: Tell of an object that stands still for longer than this; none tells of
            none.
        removed_after_s: Tell of an object that had stood still for ``settled_after_s`` and has
            been gone, its place in plain view, for longer than this; none tells of none.
        settled_after_s: From when on a standing object is part of the scene.
    """

    name: Annotated[str, Meta(min_length=1)]
    points: Annotated[tuple[Point, ...], Meta(min_length=_LEAST_POINTS, max_length=MOST_POINTS)]
    kind: ZoneKind = "area"
    labels: tuple[str, ...] = ()
    anchor: Anchor = "auto"
    margin_px: Annotated[float, Meta(ge=0, le=REACH_PX)] | None = None
    dwell_after_s: Seconds | None = None
    max_objects: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    overcrowded_after_s: Seconds = 0.0
    settle_s: Seconds = 1.0
    left_after_s: Seconds | None = None
    removed_after_s: Seconds | None = None
    settled_after_s: Seconds = 60.0

    def __post_init__(self) -> None:
        """Refuse what is no simple polygon, naming the corners at fault."""
        count = len(self.points)
        if not _LEAST_POINTS <= count <= MOST_POINTS:
            raise ValueError(
                f"points must be {_LEAST_POINTS} to {MOST_POINTS} corners, not {count}"
            )
        _require_corners(self.points)
        if self.kind == "dock" and self.max_objects is not None:
            raise ValueError(
                "max_objects is nothing for a dock, free or occupied; use kind: area or queue"
            )

    @property
    def polygon(self) -> Polygon:
        """The zone's outline."""
        return Polygon(self.points)


def _require_corners(points: tuple[Point, ...]) -> None:
    for number, point in enumerate(points, start=1):
        if not (math.isfinite(point.x) and math.isfinite(point.y)):
            raise ValueError(f"points are no places: corner {number} is {_show(point)}")
        if max(abs(point.x), abs(point.y)) > REACH_PX:
            raise ValueError(
                f"points lie outside of any picture: corner {number} is {_show(point)}, more than "
                f"{REACH_PX} pixels away; use pixels of the original frame"
            )
    for number, point in enumerate(points):
        if point == points[number - 1]:
            before = number or len(points)
            raise ValueError(
                f"points repeat a corner: {before} and {number + 1} are both {_show(point)};"
                " leave one out (the last corner is joined to the first by itself)"
            )
    polygon = Polygon(points)
    crossing = polygon.crossing_sides()
    if crossing:
        first, second = (_side(points, index) for index in crossing)
        raise ValueError(
            f"points cross themselves: the side {first} meets the side {second}; list the corners "
            "in the order in which one walks round the zone"
        )


def _side(points: tuple[Point, ...], index: int) -> str:
    after = points[(index + 1) % len(points)]
    return f"{_show(points[index])} to {_show(after)}"


def _show(point: Point) -> str:
    return f"[{point.x:g}, {point.y:g}]"
