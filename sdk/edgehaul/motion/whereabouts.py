"""Where a vehicle was when a picture was taken: between two fixes, or shortly after the last.

A picture has its own capture time; a receiver gives one fix a second. At 20 m/s the nearest fix
may be 10 m away. Between two fixes the way is the cubic (Hermite) curve that has their positions
and velocities; after the newest one it goes on as it was, for a short time. Without a fix near in
time nothing is claimed.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from typing import Protocol

import msgspec

from edgehaul.messages.payloads import Placement, PlacementSource
from edgehaul.motion.ellipsoid import moved, offset_m, wrapped_deg
from edgehaul.values import Fix

RADIUS_95 = 2.448
"""Radius with 95 % of a round normal distribution in the plane, in standard deviations."""
DEFAULT_ACCURACY_M = 5.0
"""Of a receiver that does not say how accurate it is."""
MANOEUVRE_MPS2 = 2.0
"""Usual change of the velocity within a second that nobody has measured (1 sigma)."""
SPEED_ERROR_MPS = 0.5
"""Error of a measured velocity (1 sigma)."""
HEADING_FROM_MPS = 0.5
"""Below this speed the course says nothing, and the last one is kept."""
_UNKNOWN_MPS = 15.0
"""Usual velocity where none is measured (1 sigma)."""
_MISFIT_M = 10.0


class Whereabouts(msgspec.Struct, frozen=True):
    """A position at a time of somebody's choice.

    Attributes:
        fix: Position, speed and heading at that time; its ``accuracy_m`` is 1 sigma on an axis.
        placement: How it was got, and the radius that holds the truth 19 times out of 20.
    """

    fix: Fix
    placement: Placement


class Locator(Protocol):
    """Tells where the device was; :class:`RecentFixes` is one."""

    def at(self, captured_at_s: float) -> Whereabouts | None:
        """Return where the device was at a time (UTC seconds); None where that is not known."""
        ...


class RecentFixes:
    """The newest cleaned fixes of a receiver; may be asked by other threads than it is fed by.

    Args:
        keep_s: How far back it answers.
        gap_s: Two fixes further apart than this have an outage between them, in which nothing is
            known.
        max_age_s: How long after a fix, with none to follow, its motion is taken to go on.
    """

    def __init__(
        self, *, keep_s: float = 120.0, gap_s: float = 5.0, max_age_s: float = 2.0
    ) -> None:
        self._keep_s = keep_s
        self._gap_s = gap_s
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._fixes: list[Fix] = []

    def push(self, fix: Fix) -> None:
        """Take the next cleaned fix; where the clock was set back, forget what was before."""
        with self._lock:
            if self._fixes and fix.captured_at_s <= self._fixes[-1].captured_at_s:
                self._fixes.clear()
            self._fixes.append(fix)
            old = bisect_right(self._fixes, fix.captured_at_s - self._keep_s, key=_time_s)
            del self._fixes[:old]

    def at(self, captured_at_s: float) -> Whereabouts | None:
        """Return where the device was at a time (UTC seconds); None where that is not known."""
        with self._lock:
            place = bisect_right(self._fixes, captured_at_s, key=_time_s)
            before = self._fixes[place - 1] if place > 0 else None
            after = self._fixes[place] if place < len(self._fixes) else None
        if before is None:
            return None
        age_s = captured_at_s - before.captured_at_s
        if age_s == 0:
            return _placed(before, "measured", _accuracy_m(before), age_s)
        if after is not None and after.captured_at_s - before.captured_at_s <= self._gap_s:
            return _between(before, after, captured_at_s)
        return _beyond(before, captured_at_s) if age_s <= self._max_age_s else None


def _between(before: Fix, after: Fix, time_s: float) -> Whereabouts:
    """Return the place on the cubic curve; on the line where velocities do not lead there."""
    whole_s = after.captured_at_s - before.captured_at_s
    left_s, right_s = time_s - before.captured_at_s, after.captured_at_s - time_s
    part = left_s / whole_s
    end = offset_m(
        before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg
    )
    starts, ends = _velocity(before), _velocity(after)
    linear = (end[0] / whole_s, end[1] / whole_s)
    if starts is None or ends is None or _misleads(starts, ends, end, whole_s):
        place, velocity = (part * end[0], part * end[1]), linear
        # The bridge of a random walk whose speed is not known.
        own_m2 = (_UNKNOWN_MPS / 4) ** 2 * left_s * right_s / whole_s
    else:
        place, velocity = _hermite(part, whole_s, end, starts, ends)
        # The bridge of a motion with white acceleration between two known states.
        own_m2 = MANOEUVRE_MPS2**2 * (left_s * right_s / whole_s) ** 3 / 3
        own_m2 += (SPEED_ERROR_MPS * left_s * right_s / whole_s) ** 2 / 2
    # Errors of neighbouring fixes are alike: their mean is no better than they are.
    fix_m = (1 - part) * _accuracy_m(before) + part * _accuracy_m(after)
    said = _mixed(before, after, part, velocity)
    fix = _moved(before, place, said, time_s)
    sigma_m = math.sqrt(fix_m**2 + own_m2)
    return _placed(fix, "interpolated", sigma_m, min(left_s, right_s))


def _beyond(before: Fix, time_s: float) -> Whereabouts:
    """Return the place after the newest fix, as if it went on as it was."""
    age_s = time_s - before.captured_at_s
    velocity = _velocity(before)
    place = (0.0, 0.0) if velocity is None else (velocity[0] * age_s, velocity[1] * age_s)
    error_mps = _UNKNOWN_MPS if velocity is None else SPEED_ERROR_MPS
    own_m2 = MANOEUVRE_MPS2**2 * age_s**3 / 3 + (error_mps * age_s) ** 2
    fix = _moved(before, place, (before.speed_mps, before.heading_deg), time_s)
    sigma_m = math.sqrt(_accuracy_m(before) ** 2 + own_m2)
    return _placed(fix, "extrapolated", sigma_m, age_s)


def _hermite(
    part: float,
    whole_s: float,
    end: tuple[float, float],
    starts: tuple[float, float],
    ends: tuple[float, float],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return place and velocity on the cubic curve from the origin to ``end``."""
    start_weight = part * (1 - part) ** 2 * whole_s
    end_weight = -(part**2) * (1 - part) * whole_s
    end_share = part**2 * (3 - 2 * part)
    start_slope, end_slope = (1 - part) * (1 - 3 * part), part * (3 * part - 2)
    share_slope = 6 * part * (1 - part) / whole_s
    axes = list(zip(end, starts, ends, strict=True))
    east_m, north_m = (end_share * e + start_weight * s + end_weight * v for e, s, v in axes)
    east_mps, north_mps = (share_slope * e + start_slope * s + end_slope * v for e, s, v in axes)
    return (east_m, north_m), (east_mps, north_mps)


def _misleads(
    starts: tuple[float, float], ends: tuple[float, float], end: tuple[float, float], whole_s: float
) -> bool:
    """Return whether the mean velocity leads elsewhere: one of them is wrong."""
    east_m, north_m = ((a + b) / 2 * whole_s for a, b in zip(starts, ends, strict=True))
    misfit_m = math.hypot(east_m - end[0], north_m - end[1])
    return misfit_m > _MISFIT_M + math.hypot(*end) / 2


def _mixed(
    before: Fix, after: Fix, part: float, velocity: tuple[float, float]
) -> tuple[float, float | None]:
    """Return speed and heading: the receiver's, or those of the way where it gives none."""
    speed_mps = math.hypot(*velocity)
    if before.speed_mps is not None and after.speed_mps is not None:
        speed_mps = (1 - part) * before.speed_mps + part * after.speed_mps
    first, last = before.heading_deg, after.heading_deg
    if first is not None and last is not None:
        return speed_mps, (first + part * wrapped_deg(last - first)) % 360
    if speed_mps < HEADING_FROM_MPS:
        return speed_mps, first
    return speed_mps, math.degrees(math.atan2(*velocity)) % 360


def _moved(
    origin: Fix, place: tuple[float, float], said: tuple[float | None, float | None], time_s: float
) -> Fix:
    latitude_deg, longitude_deg = moved(origin.latitude_deg, origin.longitude_deg, *place)
    return msgspec.structs.replace(
        origin,
        captured_at_s=time_s,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        speed_mps=said[0],
        heading_deg=said[1],
    )


def _placed(fix: Fix, source: PlacementSource, sigma_m: float, age_s: float) -> Whereabouts:
    placement = Placement(
        source=source, uncertainty_m=round(RADIUS_95 * sigma_m, 2), age_s=round(age_s, 3)
    )
    return Whereabouts(msgspec.structs.replace(fix, accuracy_m=sigma_m), placement)


def _velocity(fix: Fix) -> tuple[float, float] | None:
    """Return metres a second east and north; None where they are not known."""
    if fix.speed_mps is None:
        return None
    if fix.heading_deg is None:
        return (0.0, 0.0) if fix.speed_mps < HEADING_FROM_MPS else None
    heading = math.radians(fix.heading_deg)
    return fix.speed_mps * math.sin(heading), fix.speed_mps * math.cos(heading)


def _accuracy_m(fix: Fix) -> float:
    accuracy_m = fix.accuracy_m
    if accuracy_m is None or not math.isfinite(accuracy_m) or accuracy_m <= 0:
        return DEFAULT_ACCURACY_M
    return accuracy_m


def _time_s(fix: Fix) -> float:
    return fix.captured_at_s
