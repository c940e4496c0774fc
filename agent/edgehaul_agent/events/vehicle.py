"""All rules on the motion of one vehicle, driven by its cleaned fixes."""

from __future__ import annotations

from collections.abc import Iterator

from edgehaul.config.vehicle import TripsSection, VehicleConfig
from edgehaul.messages.payloads import EventData
from edgehaul.values import Fix
from edgehaul_agent.events.driving import DrivingWatch
from edgehaul_agent.events.geofence import GeofenceWatch
from edgehaul_agent.events.routes import RouteWatch
from edgehaul_agent.events.standing import StandingJudge
from edgehaul_agent.events.trips import TripMeter


class VehicleRules:
    """Tells trips, borders, deviations and manoeuvres of one vehicle.

    Give it the fixes that a ``FixCleaner`` has passed. Each event's position is a fix of the time
    at which it happened, which may be before it was sure.

    Args:
        config: What is to be told; nothing is, unless it is named there.
    """

    def __init__(self, config: VehicleConfig) -> None:
        trips = config.trips or TripsSection()
        self._tells_trips = config.trips is not None
        self._is_empty = config.is_empty
        self._judge = StandingJudge(
            gap_after_s=trips.gap_after_s, forget_after_s=trips.gap_ends_after_s
        )
        self._trips = TripMeter(trips)
        self._fences = GeofenceWatch(config.geofences) if config.geofences else None
        self._routes = [RouteWatch(route) for route in config.routes]
        self._driving = DrivingWatch(config.driving) if config.driving else None

    @property
    def odometer_m(self) -> float:
        """Way driven in all trips since the start."""
        return self._trips.odometer_m

    def update(self, fix: Fix) -> Iterator[EventData]:
        """Take the next cleaned fix and yield what is now known to have happened."""
        if self._is_empty:
            return
        change = self._judge.push(fix)
        moment = self._judge.last
        if moment is None:
            return
        for told in self._trips.update(moment, change):
            if self._tells_trips:
                yield told
        # A vehicle at rest crosses no border, however its fixes wander.
        place = self._judge.settled()
        if self._fences is not None:
            yield from self._fences.update(place, at_rest=not self._judge.is_moving)
        for route in self._routes:
            yield from route.update(place)
        if self._driving is not None:
            fences = self._fences.inside() if self._fences is not None else []
            standing = self._trips.standing_since
            yield from self._driving.update(moment, standing=standing, fences=fences)

    def close(self) -> Iterator[EventData]:
        """Yield what only the end of the data decides: manoeuvres and the trip under way."""
        last = self._judge.last
        if last is None:
            return
        if self._driving is not None:
            yield from self._driving.close(last)
        for told in self._trips.close():
            if self._tells_trips:
                yield told
