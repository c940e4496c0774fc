"""Which fixes to believe, decided one by one as they come."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgehaul.geometry import haversine_m
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


class FixGate:
    """Drops duplicates, late fixes, impossible positions and impossible jumps.

    Causal: what it decides about a fix depends only on those before it. It recovers when
    the fix it trusted was the wrong one: after three fixes that agree with each other.

    Args:
        max_speed_mps: Speed that no vehicle reaches.
    """

    def __init__(self, max_speed_mps: float = MAX_SPEED_MPS) -> None:
        self.rejected = 0
        self._max_speed_mps = max_speed_mps
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
        trusted = self._trusted
        if trusted is None or self._follows(trusted, fix):
            return True
        late_s = trusted.captured_at_s - fix.captured_at_s
        if 0 <= late_s < CLOCK_ERROR_S:
            return False
        return self._outweighs(fix)

    def _outweighs(self, fix: Fix) -> bool:
        """Count fixes that contradict the trusted one but follow from each other."""
        agrees = self._doubted is not None and self._follows(self._doubted, fix)
        self._agreeing = self._agreeing + 1 if agrees else 1
        self._doubted = fix
        return self._agreeing >= AGREEING_FIXES

    def _follows(self, before: Fix, after: Fix) -> bool:
        elapsed_s = after.captured_at_s - before.captured_at_s
        if elapsed_s <= 0:
            return False
        distance_m = haversine_m(
            before.latitude_deg, before.longitude_deg, after.latitude_deg, after.longitude_deg
        )
        return distance_m <= JITTER_M + self._max_speed_mps * elapsed_s


def clean(fixes: Iterable[Fix]) -> tuple[tuple[Fix, ...], int]:
    """Return the fixes that :class:`FixGate` believes, and how many it rejected."""
    gate = FixGate()
    kept = tuple(fix for fix in fixes if gate.accept(fix))
    return kept, gate.rejected


def _is_position(fix: Fix) -> bool:
    values = (fix.captured_at_s, fix.latitude_deg, fix.longitude_deg)
    if not all(math.isfinite(value) for value in values):
        return False
    # Receivers without a position write exactly 0, 0.
    if fix.latitude_deg == 0 and fix.longitude_deg == 0:
        return False
    inaccurate = fix.accuracy_m is not None and fix.accuracy_m > MAX_ACCURACY_M
    return not inaccurate and abs(fix.latitude_deg) <= 90 and abs(fix.longitude_deg) <= 180  # noqa: PLR2004 - degrees
