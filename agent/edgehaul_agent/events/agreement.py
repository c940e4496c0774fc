"""Whether a vehicle's speeds and positions tell the same way.

Speeds and headings are measured by Doppler, positions by code: noise of the one knows nothing of
the other's. So over some way they agree by motion, and hardly by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgehaul_agent.events.moments import Moment, distance_m, mean_of, misfit_m

SLOW_WAY_M = 36.0
"""Way from which on a slow vehicle's motion can be told from noise."""
AGREEING_SHARE = 0.35
"""Both ways may part by this share of the way."""
RUN = 3
"""So many fixes in a row are no chance."""
_PART_SHARE = 0.5
_STRAIGHT = 0.75


def agrees(window: Sequence[Moment]) -> bool:
    """Return whether a window goes somewhere, and in each third of it both say the same."""
    first, last = mean_of(window[:RUN]), mean_of(window[-RUN:])
    net_m, way_m = _net_m(first, last), last.way_m - first.way_m
    if net_m < _STRAIGHT * way_m or way_m < _STRAIGHT * SLOW_WAY_M:
        return False
    third = len(window) // 3
    parts = [window[i * third : (i + 1) * third + 1] for i in range(3)]
    is_like = all(_misfit(p[0], p[-1], first, last) <= _PART_SHARE for p in parts)
    return is_like and _misfit(first, last, first, last) <= AGREEING_SHARE


def goes_on(window: Sequence[Moment]) -> bool:
    """Return whether a window still goes somewhere, bends and pauses included."""
    first, last = mean_of(window[:RUN]), mean_of(window[-RUN:])
    net_m = _net_m(first, last)
    return net_m >= SLOW_WAY_M and misfit_m(first, last) <= AGREEING_SHARE * net_m


def _net_m(first: Moment, last: Moment) -> float:
    """Return how far speeds and headings lead, or positions where there are no headings."""
    if not last.has_course:
        return distance_m(first, last)
    return math.hypot(last.east_way_m - first.east_way_m, last.north_way_m - first.north_way_m)


def _misfit(start: Moment, end: Moment, first: Moment, last: Moment) -> float:
    """Return how far apart the ways from ``start`` to ``end`` are, as a part of the way.

    Without headings the whole way from ``first`` to ``last`` tells the direction.
    """
    way_m = max(end.way_m - start.way_m, 1e-9)
    if last.has_course:
        return misfit_m(start, end) / way_m
    net_m = max(distance_m(first, last), 1e-9)
    east, north = (last.east_m - first.east_m) / net_m, (last.north_m - first.north_m) / net_m
    east_m, north_m = end.east_m - start.east_m, end.north_m - start.north_m
    return math.hypot(east_m - way_m * east, north_m - way_m * north) / way_m
