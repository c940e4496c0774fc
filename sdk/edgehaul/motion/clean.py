"""Which fixes to believe, and what of them, decided one by one as they come.

The device and the host's windows use :class:`FixCleaner`, which is causal. What looks both
ways, :func:`edgehaul.motion.hampel.hampel` and :func:`edgehaul.motion.kalman.smoothed`, is for
labels, tracks and maps on the host alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from edgehaul.clock import Clock, is_time
from edgehaul.geometry import haversine_m
from edgehaul.motion.hampel import CausalHampel
from edgehaul.values import Fix

MAX_SPEED_MPS = 70.0
"""No truck is faster (252 km/h)."""
MAX_ACCURACY_M = 200.0
"""A fix that its receiver calls this inaccurate says nothing about motion."""
JITTER_M = 30.0
"""Distance that noise alone may cover between two fixes, in street canyons."""
CLOCK_ERROR_S = 3600.0
"""A fix this much older than the one before it means that one's clock was wrong."""
AGREEING_FIXES = 3
"""So many doubted fixes in a row that agree with each other outweigh the trusted one."""
UNTIMELY_FIXES = 30
"""So many late (or future) fixes in a row that agree do so too: fewer may have been held up."""
FUTURE_S = 60.0
"""A fix this much ahead of the machine's clock has a wrong time, or that clock is wrong."""
MAX_ACCELERATION_MPS2 = 12.0
"""No truck brakes or speeds up more; a harsh braking is 5 to 8 m/s2."""


class FixGate:
    """Drops duplicates, late fixes, impossible positions and impossible jumps.

    Causal: what it decides about a fix depends only on those before it. It recovers when
    the fix it trusted was the wrong one: after three fixes that agree with each other, or
    thirty that are late, for a trusted fix from the future makes all that follow seem late.

    Args:
        max_speed_mps: Speed that no vehicle reaches.
        clock: Where it is given, fixes from the future are dropped at once, until thirty of
            them agree that the clock is wrong. A recording has its own times, so what reads
            one gives none.
    """

    def __init__(self, max_speed_mps: float = MAX_SPEED_MPS, *, clock: Clock | None = None) -> None:
        self.rejected = 0
        self._max_speed_mps = max_speed_mps
        self._clock = clock
        self._trusted: Fix | None = None
        self._doubted: Fix | None = None
        self._agreeing = 0

    def accept(self, fix: Fix) -> bool:
        """Return whether to believe ``fix``, and remember it."""
        if self._believes(fix):
            self._trusted, self._doubted, self._agreeing = fix, None, 0
            return True
        self.rejected += 1
        return False

    def _believes(self, fix: Fix) -> bool:
        if not _is_position(fix):
            return False
        needed = self._fixes_needed(fix)
        return needed == 0 or self._outweighs(fix, needed)

    def _fixes_needed(self, fix: Fix) -> int:
        """Return how many fixes in a row must agree before this one is believed; 0: none."""
        trusted = self._trusted
        # Once a run of future fixes is believed, the next one of them is no news.
        if self._is_future(fix) and not (trusted is not None and self._is_future(trusted)):
            return UNTIMELY_FIXES
        if trusted is None or self._follows(trusted, fix):
            return 0
        late_s = trusted.captured_at_s - fix.captured_at_s
        return UNTIMELY_FIXES if 0 <= late_s < CLOCK_ERROR_S else AGREEING_FIXES

    def _is_future(self, fix: Fix) -> bool:
        return self._clock is not None and fix.captured_at_s > self._clock.now_s() + FUTURE_S

    def _outweighs(self, fix: Fix, needed: int) -> bool:
        """Count fixes that contradict the trusted one but follow from each other."""
        doubted = self._doubted
        if doubted is not None and fix.captured_at_s == doubted.captured_at_s:
            # Said twice is no second witness, and no contradiction either.
            return False
        agrees = doubted is not None and self._follows(doubted, fix)
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._doubted = fix
        return self._agreeing >= needed

    def _follows(self, before: Fix, after: Fix) -> bool:
        return can_follow(before, after, self._max_speed_mps)


class FixCleaner:
    """Drops the fixes that :class:`FixGate` does not believe, and wrong speeds of the others.

    A speed or heading that is no number is missing. So is a speed that stands out of the last
    ones (a causal Hampel filter) and could only be reached from the last believed one by an
    impossible acceleration: a receiver that loses its satellites may well say 60 m/s at a good
    position. Missing speeds follow from the positions when the fixes are resampled.

    Args:
        clock: As for :class:`FixGate`.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self.speeds_dropped = 0
        self._gate = FixGate(clock=clock)
        self._speeds = CausalHampel()
        self._believed: tuple[float, float] | None = None

    @property
    def rejected(self) -> int:
        """Number of fixes that were not believed."""
        return self._gate.rejected

    def push(self, fix: Fix) -> Fix | None:
        """Return the fix as far as it is to be believed; None where it is not at all."""
        if not self._gate.accept(fix):
            return None
        speed_mps, heading_deg = _number(fix.speed_mps), _number(fix.heading_deg)
        if speed_mps is not None and not self._is_possible(speed_mps, fix.captured_at_s):
            self.speeds_dropped += 1
            speed_mps = None
        if speed_mps == fix.speed_mps and heading_deg == fix.heading_deg:
            return fix
        return msgspec.structs.replace(fix, speed_mps=speed_mps, heading_deg=heading_deg)

    def _is_possible(self, speed_mps: float, time_s: float) -> bool:
        if not 0 <= speed_mps <= MAX_SPEED_MPS:
            return False
        believed_mps, at_s = self._believed or (speed_mps, time_s)
        elapsed_s = time_s - at_s
        if not 0 <= elapsed_s < _FORGET_S:
            # The clock was set right, or the pause was long: nothing follows from before.
            self._speeds.forget()
            believed_mps, elapsed_s = speed_mps, 0.0
        reach_mps = MAX_ACCELERATION_MPS2 * max(elapsed_s, 1.0)
        stands_out = self._speeds.is_outlier(speed_mps)
        if stands_out and abs(speed_mps - believed_mps) > reach_mps:
            return False
        self._believed = (speed_mps, time_s)
        return True


_FORGET_S = 30.0
"""After a pause this long the speeds before it say nothing."""


def can_follow(before: Fix, after: Fix, max_speed_mps: float = MAX_SPEED_MPS) -> bool:
    """Return whether a vehicle can be at one place and at another one later."""
    elapsed_s = after.captured_at_s - before.captured_at_s
    if elapsed_s <= 0:
        return False
    distance_m = haversine_m(
        before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg
    )
    return distance_m <= JITTER_M + max_speed_mps * elapsed_s


def is_writable(fix: Fix) -> bool:
    """Return whether time and place are such that a message can hold them, be they true or not."""
    places = (fix.latitude_deg, fix.longitude_deg)
    return is_time(fix.captured_at_s) and all(math.isfinite(value) for value in places)


def clean(fixes: Iterable[Fix]) -> tuple[tuple[Fix, ...], int]:
    """Return what :class:`FixCleaner` believes of fixes, and how many it rejected."""
    cleaner = FixCleaner()
    kept = tuple(good for fix in fixes if (good := cleaner.push(fix)) is not None)
    return kept, cleaner.rejected


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _is_position(fix: Fix) -> bool:
    if not is_writable(fix):
        return False
    # Receivers without a position write exactly 0, 0.
    if fix.latitude_deg == 0 and fix.longitude_deg == 0:
        return False
    inaccurate = fix.accuracy_m is not None and fix.accuracy_m > MAX_ACCURACY_M
    return not inaccurate and abs(fix.latitude_deg) <= 90 and abs(fix.longitude_deg) <= 180  # noqa: PLR2004 - degrees
