"""A fix and what has added up until then, and where a vehicle stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from edgehaul.motion.ellipsoid import geodesic_m, moved, offset_m
from edgehaul.values import Fix

UNSEEN_M = 150.0
"""Noise alone does not put a vehicle this far from where it stood, for several fixes."""
MAX_REACH_M = 250.0
"""However fixes scatter: a vehicle that creeps along must not be taken for one that scatters."""
_DEFAULT_ACCURACY_M = 5.0
_LEAST_SCATTER_M = 5.0
_MEMORY = 600
"""Fixes at rest that make the anchor: it follows what wanders slower than this."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A fix with what has added up until then.

    Attributes:
        fix: The cleaned fix.
        east_m: Metres east of the plane's origin.
        north_m: Metres north of it.
        speed_mps: The receiver's speed, or that between positions.
        way_m: Sum of speed by time since the start, gaps left out.
        east_way_m: The part of it to the east; of ``way_m`` where headings are known.
        north_way_m: The part of it to the north.
        slow_s: Sum of the time at less than `SLOW_MPS`.
        has_course: Whether the receiver gives speed and heading.
        steady_mps: The lesser of this speed and the one before: one wrong speed is not in it.
        gap_s: Time since the fix before where that was a gap, below 0 where the clock was set
            back.
    """

    fix: Fix
    east_m: float
    north_m: float
    speed_mps: float
    way_m: float = 0.0
    east_way_m: float = 0.0
    north_way_m: float = 0.0
    slow_s: float = 0.0
    has_course: bool = False
    steady_mps: float = 0.0
    gap_s: float | None = None

    @property
    def time_s(self) -> float:
        """Time of the fix."""
        return self.fix.captured_at_s


class Anchor:
    """Where a vehicle stands, and how far fixes are scattered around it."""

    def __init__(self) -> None:
        self.fix: Fix | None = None
        self._east_m = self._north_m = 0.0
        self._square_m2 = 0.0
        self._count = 0

    @property
    def scatter_m(self) -> float:
        """Root of the mean squared distance."""
        return math.sqrt(self._square_m2)

    @property
    def reach_m(self) -> float:
        """Distance that is no scatter any more."""
        return min(max(UNSEEN_M, 4 * self.scatter_m), MAX_REACH_M)

    def settle(self, moment: Moment) -> None:
        """Begin anew at this place."""
        self.fix = moment.fix
        self._east_m, self._north_m = moment.east_m, moment.north_m
        self._square_m2 = 2 * accuracy_m(moment.fix) ** 2
        self._count = 1

    def take(self, moment: Moment) -> None:
        """Learn from a fix at rest."""
        self._count = min(self._count + 1, _MEMORY)
        distance_m = self.distance_m(moment)
        # Huber's weight: a jump, or a vehicle that leaves, does not pull the mean along.
        believed_m = min(distance_m, 3 * max(self.scatter_m, _LEAST_SCATTER_M))
        share = 1 / self._count
        pull = share * believed_m / max(distance_m, 1e-9)
        self._east_m += pull * (moment.east_m - self._east_m)
        self._north_m += pull * (moment.north_m - self._north_m)
        self._square_m2 += share * (believed_m**2 - self._square_m2)

    def distance_m(self, moment: Moment) -> float:
        """Return how far away a fix is."""
        return math.hypot(moment.east_m - self._east_m, moment.north_m - self._north_m)

    def mean_fix(self, now: Moment, origin: Fix) -> Fix:
        """Return the newest fix at the mean place, with the accuracy of that mean.

        Errors are forgotten in about a minute, so each minute is one more independent look; what
        is always there, such as a reflection, no time removes: hence never below a half.
        """
        first_s = self.fix.captured_at_s if self.fix is not None else now.time_s
        looks = 1 + max(now.time_s - first_s, 0.0) / 60.0
        own_m = accuracy_m(now.fix)
        spread_m = max(own_m, self.scatter_m / math.sqrt(2))
        latitude_deg, longitude_deg = moved(
            origin.latitude_deg, origin.longitude_deg, self._east_m, self._north_m
        )
        return msgspec.structs.replace(
            now.fix,
            latitude_deg=latitude_deg,
            longitude_deg=longitude_deg,
            accuracy_m=max(spread_m / math.sqrt(looks), own_m / 2),
        )

    def move(self, origin: Fix) -> None:
        """Change to another plane; the mean of the scattered fixes is not worth keeping."""
        if self.fix is not None:
            there = moment_of(self.fix, origin)
            self._east_m, self._north_m = there.east_m, there.north_m


def misfit_m(first: Moment, last: Moment) -> float:
    """Return how far apart the ways are that positions and speeds tell."""
    east_m, north_m = last.east_m - first.east_m, last.north_m - first.north_m
    if not last.has_course:
        return abs(math.hypot(east_m, north_m) - (last.way_m - first.way_m))
    return math.hypot(
        east_m - (last.east_way_m - first.east_way_m),
        north_m - (last.north_way_m - first.north_way_m),
    )


def mean_of(moments: Sequence[Moment]) -> Moment:
    """Return the mean of all that is compared."""
    count = len(moments)
    return replace(
        moments[-1],
        east_m=sum(m.east_m for m in moments) / count,
        north_m=sum(m.north_m for m in moments) / count,
        way_m=sum(m.way_m for m in moments) / count,
        east_way_m=sum(m.east_way_m for m in moments) / count,
        north_way_m=sum(m.north_way_m for m in moments) / count,
    )


def moment_of(fix: Fix, origin: Fix) -> Moment:
    """Return a fix with which nothing has added up yet, in the plane around ``origin``."""
    moment = Moment(fix, 0.0, 0.0, fix.speed_mps or 0.0, has_course=has_course(fix))
    return replaced(moment, origin)


def replaced(moment: Moment, origin: Fix) -> Moment:
    """Return the moment in the plane around another origin."""
    east_m, north_m = offset_m(
        origin.latitude_deg,
        origin.longitude_deg,
        moment.fix.latitude_deg,
        moment.fix.longitude_deg,
    )
    return replace(moment, east_m=east_m, north_m=north_m)


def distance_m(a: Moment, b: Moment) -> float:
    """Return the distance in the plane."""
    return math.hypot(b.east_m - a.east_m, b.north_m - a.north_m)


def has_course(fix: Fix) -> bool:
    """Return whether speed and heading are known."""
    return fix.speed_mps is not None and fix.heading_deg is not None


def accuracy_m(fix: Fix) -> float:
    """Return the accuracy (1 sigma), a usual one where the receiver gives none."""
    accuracy_m = fix.accuracy_m
    if accuracy_m is None or not math.isfinite(accuracy_m) or accuracy_m <= 0:
        return _DEFAULT_ACCURACY_M
    return accuracy_m


def distance_between_m(before: Fix, after: Fix) -> float:
    """Return the straight distance between two fixes."""
    return geodesic_m(
        before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg
    )
