"""Trips: from the first motion until the vehicle has stood for a while, and an odometer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgehaul.clock import format_utc
from edgehaul.config.vehicle import TripsSection
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import TripEvent
from edgehaul.values import Fix
from edgehaul_agent.events.moments import UNSEEN_M, Moment, distance_between_m
from edgehaul_agent.events.standing import Change

EndedBy = Literal["stop", "gap", "clock", "close"]


@dataclass(slots=True)
class Trip:
    """What has added up in a trip, but for the leg under way."""

    start: Moment
    leg: Moment
    """Where the present spell of motion or of rest began."""
    unseen_m: float
    is_moving: bool = True
    is_told: bool = False
    distance_m: float = 0.0
    moving_s: float = 0.0
    idle_s: float = 0.0
    gap_s: float = 0.0
    gap_m: float = 0.0
    gaps: int = 0
    max_speed_mps: float = 0.0

    def close_leg(self, at: Moment) -> None:
        """Add what came to an end at ``at``."""
        spell_s = max(at.time_s - self.leg.time_s, 0.0)
        if self.is_moving:
            self.distance_m += max(at.way_m - self.leg.way_m, 0.0)
            self.moving_s += spell_s
        else:
            self.idle_s += spell_s
        self.leg = at


class TripMeter:
    """Makes trips of motion and rest.

    Distance is the sum of the receiver's speeds, which wander far less than its positions, in
    motion only: a vehicle that stands does not wear out its odometer. Gaps are declared and in
    no distance.

    Args:
        settings: When a trip has begun, and when it is over.
    """

    def __init__(self, settings: TripsSection) -> None:
        self._settings = settings
        self._trip: Trip | None = None
        self._last: Moment | None = None
        self._odometer_m = 0.0

    @property
    def odometer_m(self) -> float:
        """Way of all trips that were told."""
        trip = self._trip
        return self._odometer_m + (self._way_m(trip) if trip and trip.is_told else 0.0)

    @property
    def standing_since(self) -> Moment | None:
        """Since when the vehicle has stood within a trip; None while it moves or is parked."""
        trip = self._trip
        return trip.leg if trip and not trip.is_moving else None

    @property
    def driven_m(self) -> float:
        """Way of the trips that have ended."""
        return self._odometer_m

    @property
    def trip(self) -> Trip | None:
        """The trip under way."""
        return self._trip

    def resume(self, odometer_m: float, trip: Trip | None, last: Moment | None) -> None:
        """Go on where another meter was; call it before the first fix.

        Args:
            odometer_m: Its :attr:`driven_m`.
            trip: Its trip under way.
            last: Its last fix.
        """
        self._odometer_m, self._trip, self._last = odometer_m, trip, last

    def update(self, now: Moment, change: Change | None) -> Iterator[EventData]:
        """Take the next fix, and what it has changed."""
        yield from self._bridge(now)
        self._last = now
        if change is not None:
            self._turn(change)
        trip = self._trip
        if trip is None:
            return
        if trip.is_moving:
            # The lesser of two in a row: one wrong speed is no record.
            trip.max_speed_mps = max(trip.max_speed_mps, now.steady_mps)
        if not trip.is_told and self._is_worth_telling(trip, now):
            trip.is_told = True
            yield _told(self._event(trip), trip.start.fix)
        if not trip.is_moving and now.time_s - trip.leg.time_s >= self._settings.stop_after_s:
            yield from self._end(trip.leg, "stop")

    def close(self) -> Iterator[EventData]:
        """End the trip under way, as at the end of the data."""
        if self._trip is not None and self._last is not None:
            at = self._last if self._trip.is_moving else self._trip.leg
            yield from self._end(at, "close")

    def _bridge(self, now: Moment) -> Iterator[EventData]:
        """Declare a gap before this fix; end the trip where it is too long."""
        trip, last = self._trip, self._last
        if trip is None or last is None:
            return
        elapsed_s = now.gap_s
        if elapsed_s is None:
            return
        if not 0 < elapsed_s < self._settings.gap_ends_after_s:
            at = last if trip.is_moving else trip.leg
            yield from self._end(at, "gap" if elapsed_s > 0 else "clock")
            return
        trip.close_leg(last)
        way_m = distance_between_m(last.fix, now.fix)
        trip.gaps += 1
        trip.gap_s += elapsed_s
        # Whoever stood and has not gone far has stood all the time.
        trip.gap_m += way_m if trip.is_moving or way_m > UNSEEN_M else 0.0
        trip.leg = now

    def _turn(self, change: Change) -> None:
        trip = self._trip
        if trip is None:
            if change.is_moving:
                self._trip = Trip(change.since, change.since, change.unseen_m)
            return
        at = change.since if change.since.time_s >= trip.leg.time_s else trip.leg
        trip.close_leg(at)
        trip.is_moving = change.is_moving

    def _way_m(self, trip: Trip) -> float:
        now = self._last
        under_way = now.way_m - trip.leg.way_m if now is not None and trip.is_moving else 0.0
        return trip.distance_m + max(under_way, 0.0)

    def _is_worth_telling(self, trip: Trip, now: Moment) -> bool:
        lasted_s = now.time_s - trip.start.time_s
        is_long = self._way_m(trip) >= self._settings.least_distance_m
        return is_long and lasted_s >= self._settings.least_duration_s

    def _end(self, at: Moment, ended_by: EndedBy) -> Iterator[EventData]:
        trip, self._trip = self._trip, None
        if trip is None:
            return
        trip.close_leg(at)
        # Only at the end is it known where motion ended.
        is_long = trip.distance_m >= self._settings.least_distance_m
        if not trip.is_told and is_long and trip.moving_s >= self._settings.least_duration_s:
            trip.is_told = True
            yield _told(self._event(trip), trip.start.fix)
        if not trip.is_told:
            return
        self._odometer_m += trip.distance_m
        yield _told(self._event(trip, at, ended_by), at.fix)

    def _event(
        self, trip: Trip, end: Moment | None = None, ended_by: Literal["", EndedBy] = ""
    ) -> TripEvent:
        started_at = format_utc(trip.start.time_s)
        unseen_m = round(trip.unseen_m, 1)
        if end is None:
            odometer_m = round(self._odometer_m, 1)
            return TripEvent(
                phase="start", started_at=started_at, unseen_m=unseen_m, odometer_m=odometer_m
            )
        return TripEvent(
            phase="end",
            started_at=started_at,
            ended_at=format_utc(end.time_s),
            distance_m=round(trip.distance_m, 1),
            duration_s=round(trip.moving_s + trip.idle_s + trip.gap_s, 3),
            moving_s=round(trip.moving_s, 3),
            idle_s=round(trip.idle_s, 3),
            gap_s=round(trip.gap_s, 3),
            gap_m=round(trip.gap_m, 1),
            gaps=trip.gaps,
            max_speed_mps=round(trip.max_speed_mps, 2),
            mean_speed_mps=round(trip.distance_m / trip.moving_s, 2) if trip.moving_s else 0.0,
            unseen_m=unseen_m,
            odometer_m=round(self._odometer_m, 1),
            ended_by=ended_by,
        )


def _told(event: TripEvent, where: Fix) -> EventData:
    return EventData(event=event, position=where)
