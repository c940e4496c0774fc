"""Areas entered and left, told only when the fixes are sure of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgehaul.clock import format_utc
from edgehaul.config.vehicle import Geofence, GeofencesSection
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import GeofenceEvent
from edgehaul.values import Fix
from edgehaul_agent.events.areas import BoxIndex, area_of
from edgehaul_agent.events.moments import accuracy_m, distance_between_m

MAX_REACH_M = 1_000.0
"""A fix that is less sure than this changes nothing anyway."""
_BOUND = 0.98
"""Distances to far borders are exact to 1.4 %."""


@dataclass(slots=True)
class _Side:
    """On which side of a border a vehicle is known to be; ``None`` where it is not known yet.

    Attributes:
        inside: Which.
        sure_at_s: When a fix said so last.
        since_s: Since when it is inside.
        dwelt: Whether its dwelling was told.
        other: The first of the sure fixes that say otherwise.
        depth_m: Distance to the border where it was measured last, below 0 outside.
        measured_m: The vehicle's way until there: a border comes no nearer than it goes.
    """

    inside: bool | None
    sure_at_s: float | None
    since_s: float = 0.0
    dwelt: bool = False
    other: Fix | None = None
    depth_m: float = 0.0
    measured_m: float = -math.inf


class GeofenceWatch:
    """Tells which areas a vehicle enters, stays in and leaves.

    A fix speaks for a side of a border only from ``sigmas`` times its accuracy away; nearer ones
    change nothing. The first fix on the other side is believed when one ``confirm_s`` later says
    the same, and none in between the contrary. So an area that is smaller than its fixes are
    sure is never entered. What it is in at the first sure fix is told as ``inside``.

    Args:
        settings: The areas and how sure to be.
    """

    def __init__(self, settings: GeofencesSection) -> None:
        self._settings = settings
        self._fences = settings.fences
        self._areas = [area_of(fence) for fence in self._fences]
        self._index = BoxIndex(self._areas)
        # Only of areas that are near or known to be inside; all others are outside.
        self._sides: dict[int, _Side] = {}
        # What a vehicle at rest was found to be beside has been decided until it moves again.
        self._decided: set[int] = set()
        self._last: Fix | None = None
        self._way_m = 0.0

    def inside(self) -> list[Geofence]:
        """Return the areas that the vehicle is known to be in."""
        return [self._fences[number] for number, side in self._sides.items() if side.inside]

    def update(self, fix: Fix, *, at_rest: bool = False) -> Iterator[EventData]:
        """Take the next cleaned fix.

        Args:
            fix: It.
            at_rest: Whether the vehicle stands. It crosses no border then: what it has come
                to stand in is decided once, however its fixes wander.
        """
        if not at_rest:
            self._decided.clear()
        reach_m = self._settings.sigmas * accuracy_m(fix)
        near = self._approached(fix, min(reach_m, MAX_REACH_M))
        for number, side in sorted(self._sides.items()):
            depth_m = self._depth_m(number, side, fix, reach_m) if number in near else -math.inf
            if abs(depth_m) >= reach_m:
                yield from self._judge(number, fix, inside=depth_m > 0, at_rest=at_rest)
            yield from self._dwell(number, fix)
            if number not in near and not side.inside:
                del self._sides[number]

    def _approached(self, fix: Fix, reach_m: float) -> set[int]:
        """Return the areas that a fix may be in, and begin to watch the new ones."""
        last, self._last = self._last, fix
        if last is not None:
            self._way_m += distance_between_m(last, fix)
        near = set(self._index.near(fix.latitude_deg, fix.longitude_deg, reach_m))
        for number in near - self._sides.keys():
            # It was far away at the fix before this one, where there was one.
            known = None if last is None else False
            self._sides[number] = _Side(known, None if last is None else last.captured_at_s)
        return near

    def _depth_m(self, number: int, side: _Side, fix: Fix, reach_m: float) -> float:
        """Return how far inside the fix is, or a bound of it where that is enough."""
        left_m = _BOUND * abs(side.depth_m) - (self._way_m - side.measured_m)
        if left_m >= reach_m:
            return math.copysign(left_m, side.depth_m)
        side.depth_m = self._areas[number].depth_m(fix.latitude_deg, fix.longitude_deg)
        side.measured_m = self._way_m
        return side.depth_m

    def _judge(self, number: int, fix: Fix, *, inside: bool, at_rest: bool) -> Iterator[EventData]:
        side = self._sides[number]
        if side.inside == inside:
            side.sure_at_s, side.other = fix.captured_at_s, None
            return
        if side.inside is None and not inside:
            side.inside, side.sure_at_s, side.other = False, fix.captured_at_s, None
            if at_rest:
                self._decided.add(number)
            return
        if number in self._decided:
            return
        if side.other is None or side.other.captured_at_s > fix.captured_at_s:
            side.other = fix
        if fix.captured_at_s - side.other.captured_at_s < self._settings.confirm_s:
            return
        yield self._crossed(number, side.other)
        if at_rest:
            self._decided.add(number)
        side.sure_at_s = fix.captured_at_s

    def _crossed(self, number: int, at: Fix) -> EventData:
        side = self._sides[number]
        name = self._fences[number].name
        before = "" if side.sure_at_s is None else format_utc(side.sure_at_s)
        phase: Literal["inside", "enter", "exit"] = "exit" if side.inside else "enter"
        inside_s = 0.0
        if side.inside:
            inside_s = round(at.captured_at_s - side.since_s, 3)
        elif side.inside is None:
            phase, before = "inside", ""
        side.inside, side.other, side.dwelt = phase != "exit", None, False
        side.since_s = at.captured_at_s
        event = GeofenceEvent(fence=name, phase=phase, not_before=before, inside_s=inside_s)
        return EventData(event=event, position=at)

    def _dwell(self, number: int, fix: Fix) -> Iterator[EventData]:
        side, fence = self._sides[number], self._fences[number]
        inside_s = fix.captured_at_s - side.since_s
        is_due = side.inside and side.other is None and not side.dwelt and fence.dwell_after_s > 0
        if is_due and inside_s >= fence.dwell_after_s:
            side.dwelt = True
            event = GeofenceEvent(fence=fence.name, phase="dwell", inside_s=round(inside_s, 3))
            yield EventData(event=event, position=fix)
