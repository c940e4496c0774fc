"""How a vehicle is driven: speeding, idling, and what :mod:`harsh` finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgehaul.clock import format_utc
from edgehaul.config.vehicle import DrivingSection, Geofence
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import DrivingEvent
from edgehaul.values import Fix
from edgehaul_agent.events.harsh import Change, Differences, HarshPedals, HarshSteering
from edgehaul_agent.events.moments import Moment, distance_between_m

_LEAST_FIXES = 3
_AGREEING_SHARE = 0.7
_NOISE_M = 20.0


@dataclass(slots=True)
class Speeding:
    """Time above a limit."""

    limit_mps: float
    fence: str
    first: Moment
    last: Moment
    peak: Fix
    fixes: int = 1
    is_told: bool = False


class SpeedingWatch:
    """Tells time above the limit: once it is sure, and when it is over.

    It is sure after the configured time and three fixes, if the positions have gone as far as
    the speeds say. It is over at the first fix within the limit, or under another limit.

    Args:
        settings: General limit, tolerance and time.
    """

    def __init__(self, settings: DrivingSection) -> None:
        self._settings = settings
        self._now: Speeding | None = None

    @property
    def under_way(self) -> Speeding | None:
        """Time above a limit that is not over yet."""
        return self._now

    def resume(self, now: Speeding | None) -> None:
        """Go on where another watch was."""
        self._now = now

    def update(self, moment: Moment, fences: Sequence[Geofence]) -> Iterator[EventData]:
        """Take the next fix, and the areas that the vehicle is in."""
        speed_mps = moment.fix.speed_mps
        limit_mps, fence = self._limit(fences)
        now = self._now
        if now is not None and (moment.gap_s is not None or now.limit_mps != limit_mps):
            yield from self.close()
            now = None
        if speed_mps is None or limit_mps is None:
            return
        is_over = speed_mps > limit_mps + self._settings.tolerance_mps
        if now is None:
            if is_over:
                self._now = Speeding(limit_mps, fence, moment, moment, moment.fix)
            return
        if speed_mps <= limit_mps or not (is_over or now.is_told):
            yield from self.close()
            return
        now.last = moment
        now.fixes += 1
        if speed_mps > (now.peak.speed_mps or 0.0):
            now.peak = moment.fix
        if not now.is_told and self._is_sure(now):
            now.is_told = True
            yield _speeding(now, "start", moment.fix)

    def close(self) -> Iterator[EventData]:
        """End what is under way."""
        now, self._now = self._now, None
        if now is not None and now.is_told:
            yield _speeding(now, "end", now.last.fix)

    def _limit(self, fences: Sequence[Geofence]) -> tuple[float | None, str]:
        limits = [(f.speed_limit_mps, f.name) for f in fences if f.speed_limit_mps is not None]
        return min(limits) if limits else (self._settings.speed_limit_mps, "")

    def _is_sure(self, now: Speeding) -> bool:
        lasted_s = now.last.time_s - now.first.time_s
        if now.fixes < _LEAST_FIXES or lasted_s < self._settings.speeding_after_s:
            return False
        way_m = now.last.way_m - now.first.way_m
        gone_m = distance_between_m(now.first.fix, now.last.fix)
        return gone_m >= _AGREEING_SHARE * way_m - _NOISE_M


def _speeding(now: Speeding, phase: Literal["start", "end"], at: Fix) -> EventData:
    event = DrivingEvent(
        manoeuvre="speeding",
        phase=phase,
        started_at=format_utc(now.first.time_s),
        peak_at=format_utc(now.peak.captured_at_s),
        ended_at=format_utc(now.last.time_s) if phase == "end" else "",
        duration_s=round(now.last.time_s - now.first.time_s, 3),
        speed_mps=round(now.peak.speed_mps or 0.0, 2),
        limit_mps=now.limit_mps,
        fence=now.fence,
    )
    return EventData(event=event, position=at)


class IdlingWatch:
    """Tells long standing within a trip: once it is sure, and when it is over.

    Whether the engine runs GPS does not know. So the vehicle idles while it stands within a trip
    for longer than is configured; it is over when it moves on, or when the trip is (from then on
    the vehicle is parked).

    Args:
        after_s: Time of standing after which it is told.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._told: Moment | None = None

    @property
    def is_told(self) -> bool:
        """Whether the vehicle idles, and that has been told."""
        return self._told is not None

    def resume(self, told: Moment | None) -> None:
        """Go on where another watch was, which had told standing since this moment."""
        self._told = told

    def update(self, moment: Moment, standing: Moment | None) -> Iterator[EventData]:
        """Take the next fix, and since when the vehicle has stood within a trip."""
        told = self._told
        if told is not None and standing is not told:
            self._told = None
            yield _idling(told, moment, "end")
        if standing is None or self._told is not None:
            return
        if moment.time_s - standing.time_s >= self._after_s:
            self._told = standing
            yield _idling(standing, moment, "start")

    def close(self, last: Moment) -> Iterator[EventData]:
        """End what is under way."""
        told, self._told = self._told, None
        if told is not None:
            yield _idling(told, last, "end")


def _idling(since: Moment, now: Moment, phase: Literal["start", "end"]) -> EventData:
    event = DrivingEvent(
        manoeuvre="idling",
        phase=phase,
        started_at=format_utc(since.time_s),
        peak_at=format_utc(now.time_s),
        ended_at=format_utc(now.time_s) if phase == "end" else "",
        duration_s=round(max(now.time_s - since.time_s, 0.0), 3),
    )
    return EventData(event=event, position=now.fix)


class DrivingWatch:
    """All that is told of how one vehicle is driven.

    Args:
        settings: Limits and thresholds.
    """

    def __init__(self, settings: DrivingSection) -> None:
        self.speeding = SpeedingWatch(settings)
        self.idling = IdlingWatch(settings.idling_after_s)
        self._differences = Differences()
        self._pedals = HarshPedals(settings.braking_mps2, settings.acceleration_mps2)
        self._steering = HarshSteering(settings.cornering_mps2)

    def update(
        self, moment: Moment, *, standing: Moment | None, fences: Sequence[Geofence]
    ) -> Iterator[EventData]:
        """Take the next fix.

        Args:
            moment: It.
            standing: Since when the vehicle has stood within a trip.
            fences: The areas that it is in.
        """
        yield from self.speeding.update(moment, fences)
        yield from self.idling.update(moment, standing)
        yield from self._changed(self._differences.push(moment.fix))

    def close(self, last: Moment) -> Iterator[EventData]:
        """End what is under way."""
        yield from self.speeding.close()
        yield from self.idling.close(last)
        yield from self._changed(self._differences.close())
        yield from self._pedals.close()
        yield from self._steering.close()

    def _changed(self, change: Change | None) -> Iterator[EventData]:
        if change is not None:
            yield from self._pedals.update(change)
            yield from self._steering.update(change)
