"""All rules on the motion of one vehicle, driven by its cleaned fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from edgehaul.config.vehicle import TripsSection, VehicleConfig
from edgehaul.messages.payloads import EventData
from edgehaul.values import Fix
from edgehaul_agent.events.driving import DrivingWatch
from edgehaul_agent.events.geofence import GeofenceWatch
from edgehaul_agent.events.memory import VehicleMemory
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
        """Way driven in all trips."""
        return self._trips.odometer_m

    def memory(self) -> VehicleMemory:
        """Return what another one needs to go on; a copy."""
        trip, last = self._trips.trip, self._judge.last
        if trip is None or last is None:
            return VehicleMemory(odometer_m=self._trips.driven_m)
        driving = self._driving
        speeding = driving.speeding.under_way if driving is not None else None
        return VehicleMemory(
            odometer_m=self._trips.driven_m,
            trip=replace(trip),
            last=last,
            is_moving=self._judge.is_moving,
            speeding=replace(speeding) if speeding is not None else None,
            is_idling=driving is not None and driving.idling.is_told,
        )

    def resume(self, memory: VehicleMemory) -> None:
        """Go on where another one was; call it before the first fix.

        What lies between is taken as any pause in the signal is: short ones are bridged, longer
        ones declared in the trip, and one that is too long has ended it, at its last fix.
        """
        trip, last = memory.trip, memory.last
        self._trips.resume(memory.odometer_m, trip, last)
        if trip is None or last is None:
            return
        self._judge.resume(last, is_moving=memory.is_moving)
        if self._driving is not None:
            self._driving.speeding.resume(memory.speeding)
            self._driving.idling.resume(trip.leg if memory.is_idling else None)

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
