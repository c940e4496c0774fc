"""Fixes at any times become steps at even times, one after the other as they come."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgehaul.geometry import haversine_m
from edgehaul.motion.clean import MAX_SPEED_MPS, can_follow
from edgehaul.values import Fix

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTAGE_INTERVALS = 5
"""A pause longer than so many intervals is an outage: nothing is interpolated across it."""
HEADING_FROM_MPS = 1.5
"""Below this speed a receiver's heading is noise; the last good one is kept."""
_LEAST_ELAPSED_S = 0.02
"""No receiver is faster than 50 Hz."""
_TIME_TOLERANCE_S = 1e-6
"""Rounding of sums of times in float64."""


@dataclass(frozen=True, slots=True)
class Step:
    """The motion at one even time.

    Attributes:
        time_s: UTC seconds since 1970.
        speed_mps: Speed over ground.
        heading_deg: Heading without jumps at 360: it goes on to 361, and below 0.
        travelled_m: Distance covered since the last outage.
    """

    time_s: float
    speed_mps: float
    heading_deg: float
    travelled_m: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Steps at even times as arrays, each of shape (T,) and float64; see :class:`Step`."""

    interval_s: float
    time_s: NDArray[np.float64]
    speed_mps: NDArray[np.float64]
    heading_deg: NDArray[np.float64]
    travelled_m: NDArray[np.float64]

    @classmethod
    def from_steps(cls, steps: Iterable[Step], interval_s: float) -> Motion:
        """Return the arrays of these steps, which follow each other without an outage."""
        rows = [(s.time_s, s.speed_mps, s.heading_deg, s.travelled_m) for s in steps]
        table = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        return cls(interval_s, table[0], table[1], table[2], table[3])


class Resampler:
    """Interpolates linearly between fixes at ``interval_s``, starting anew after an outage.

    It also starts anew where no vehicle gets from one fix to the next: one of the places was
    wrong, and what was before does not belong to what follows.

    Speed and heading are the receiver's, or follow from the positions where it gives none.

    Args:
        interval_s: Time between two steps.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._before: Step | None = None
        self._before_fix: Fix | None = None
        self._started_at_s = 0.0
        self._emitted = 0

    def push(self, fix: Fix) -> tuple[list[Step], bool]:
        """Take the next fix.

        Returns:
            The steps that are now known, and whether they begin anew after an outage.
        """
        before, before_fix = self._before, self._before_fix
        if before is None or before_fix is None or self._is_outage(before_fix, fix):
            self._start(fix)
            return [], True
        after = _step_at(fix, before_fix, before)
        if self._emitted == 0:
            before = _completed(before, before_fix, after)
        steps = []
        while (time_s := self._next_time_s()) <= after.time_s + _TIME_TOLERANCE_S:
            steps.append(_between(before, after, time_s))
            self._emitted += 1
        self._before, self._before_fix = after, fix
        return steps, False

    def _start(self, fix: Fix) -> None:
        speed_mps, heading_deg = fix.speed_mps or 0.0, fix.heading_deg or 0.0
        self._before = Step(fix.captured_at_s, speed_mps, heading_deg, 0.0)
        self._before_fix = fix
        self._started_at_s, self._emitted = fix.captured_at_s, 0

    def _is_outage(self, before: Fix, fix: Fix) -> bool:
        elapsed_s = fix.captured_at_s - before.captured_at_s
        is_long = elapsed_s > OUTAGE_INTERVALS * self._interval_s + _TIME_TOLERANCE_S
        return is_long or not can_follow(before, fix)

    def _next_time_s(self) -> float:
        # A product, not a running sum: rounding errors do not grow with the trip.
        return self._started_at_s + self._emitted * self._interval_s


def resample(fixes: Iterable[Fix], interval_s: float) -> tuple[Motion, ...]:
    """Return the motion between outages, for fixes in order of time.

    Parts of fewer than two fixes hold no motion and are left out.
    """
    resampler = Resampler(interval_s)
    parts: list[list[Step]] = []
    for fix in fixes:
        steps, is_new = resampler.push(fix)
        if is_new:
            parts.append([])
        parts[-1].extend(steps)
    return tuple(Motion.from_steps(part, interval_s) for part in parts if part)


def _step_at(fix: Fix, before_fix: Fix, before: Step) -> Step:
    elapsed_s = fix.captured_at_s - before_fix.captured_at_s
    distance_m = haversine_m(
        before_fix.latitude_deg, before_fix.longitude_deg, fix.latitude_deg, fix.longitude_deg
    )
    speed_mps = fix.speed_mps
    if speed_mps is None:
        # Between fixes this near in time there is nothing but noise.
        is_noise = elapsed_s < _LEAST_ELAPSED_S
        speed_mps = before.speed_mps if is_noise else min(distance_m / elapsed_s, MAX_SPEED_MPS)
    heading_deg = before.heading_deg
    if speed_mps >= HEADING_FROM_MPS:
        measured = fix.heading_deg
        if measured is None:
            measured = bearing_deg(before_fix, fix)
        # The shorter way round from the heading before.
        heading_deg += (measured - heading_deg + 180) % 360 - 180
    return Step(fix.captured_at_s, speed_mps, heading_deg, before.travelled_m + distance_m)


def _completed(first: Step, first_fix: Fix, second: Step) -> Step:
    """Return the first step with what only the second fix could tell about it."""
    speed_mps = first.speed_mps if first_fix.speed_mps is not None else second.speed_mps
    known = first_fix.heading_deg is not None and speed_mps >= HEADING_FROM_MPS
    heading_deg = first.heading_deg if known else second.heading_deg
    return Step(first.time_s, speed_mps, heading_deg, first.travelled_m)


def _between(before: Step, after: Step, time_s: float) -> Step:
    part = (time_s - before.time_s) / (after.time_s - before.time_s)
    part = min(max(part, 0.0), 1.0)
    return Step(
        time_s,
        before.speed_mps + part * (after.speed_mps - before.speed_mps),
        before.heading_deg + part * (after.heading_deg - before.heading_deg),
        before.travelled_m + part * (after.travelled_m - before.travelled_m),
    )


def bearing_deg(start: Fix, end: Fix) -> float:
    """Return the initial bearing of the great circle from ``start`` to ``end``, 0..360."""
    lat1, lat2 = math.radians(start.latitude_deg), math.radians(end.latitude_deg)
    dlon = math.radians(end.longitude_deg - start.longitude_deg)
    east = math.sin(dlon) * math.cos(lat2)
    north = math.cos(lat1) * math.sin(lat2) - math.sin(lat1) * math.cos(lat2) * math.cos(dlon)
    return math.degrees(math.atan2(east, north)) % 360
