"""Ways that a vehicle should keep to, and when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgehaul.clock import format_utc
from edgehaul.config.vehicle import Route
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import RouteEvent
from edgehaul.values import Fix
from edgehaul_agent.events.areas import Way
from edgehaul_agent.events.moments import accuracy_m


@dataclass(slots=True)
class _Deviation:
    """Time off the way."""

    first: Fix
    furthest_m: float
    is_told: bool = False


class RouteWatch:
    """Tells when a vehicle leaves one way, and when it is back.

    It is off the way where the fix is further away than the corridor by twice its accuracy, and
    back where the fix is within the corridor. A vehicle that has never been on the way has not
    left it.

    Args:
        route: The way.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._way = Way(route.points)
        self._has_joined = False
        self._deviation: _Deviation | None = None

    def update(self, fix: Fix) -> Iterator[EventData]:
        """Take the next cleaned fix."""
        distance_m = self._way.distance_m(fix.latitude_deg, fix.longitude_deg)
        corridor_m = self._route.corridor_m
        deviation = self._deviation
        if distance_m <= corridor_m:
            self._has_joined, self._deviation = True, None
            if deviation is not None and deviation.is_told:
                yield self._event("returned", deviation, fix)
            return
        if deviation is not None:
            deviation.furthest_m = max(deviation.furthest_m, distance_m)
        if distance_m - 2 * accuracy_m(fix) <= corridor_m or not self._has_joined:
            return
        if deviation is None or deviation.first.captured_at_s > fix.captured_at_s:
            self._deviation = deviation = _Deviation(fix, distance_m)
        off_s = fix.captured_at_s - deviation.first.captured_at_s
        if not deviation.is_told and off_s >= self._route.deviated_after_s:
            deviation.is_told = True
            yield self._event("deviated", deviation, fix)

    def _event(
        self, phase: Literal["deviated", "returned"], deviation: _Deviation, at: Fix
    ) -> EventData:
        event = RouteEvent(
            route=self._route.name,
            phase=phase,
            started_at=format_utc(deviation.first.captured_at_s),
            distance_m=round(deviation.furthest_m, 1),
        )
        return EventData(event=event, position=at)
