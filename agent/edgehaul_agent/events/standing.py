"""Whether a vehicle stands or moves: what trips, idling and borders are judged by.

A receiver at rest between buildings wanders by tens of metres, jumps by a hundred and says that
it goes at 0 to 2 m/s. Neither a speed nor a distance alone tells that from shunting. What noise
does not do is agree with itself: over some time, the way that the speeds and headings add up to
(measured by Doppler) is the way between the positions (measured by code).
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from edgehaul.motion.ellipsoid import offset_m
from edgehaul.values import Fix
from edgehaul_agent.events.agreement import (
    AGREEING_SHARE,
    RUN,
    SLOW_WAY_M,
    agrees,
    goes_on,
)
from edgehaul_agent.events.moments import (
    UNSEEN_M,
    Anchor,
    Moment,
    accuracy_m,
    distance_m,
    has_course,
    mean_of,
    misfit_m,
    moment_of,
    replaced,
)

STILL_MPS = 0.5
"""A receiver at rest under open sky says less."""
SLOW_MPS = 1.0
"""Shunting is faster; noise between buildings is so half of the time."""
FAST_MPS = 3.0
"""Noise alone never says so in several fixes in a row."""
_STILL_FOR_S = 5.0
_SLOW_FOR_S = 35.0
_UNDECIDED_FOR_S = 60.0
_WINDOW_S = 90.0
_LEARNT_AFTER_S = 40.0
_SCATTER_SIGMAS = 2.5
_FAST_WAY_M = 25.0
_SLOW_SHARE = 0.85
_CREEPING_SHARE = 0.8
_LEAST_ERROR_M = 15.0
_LEAST_FIXES = 12
_GAP_INTERVALS = 3
_BASE_S = 10.0
_REACH_M = 20_000.0


@dataclass(frozen=True, slots=True)
class Change:
    """A vehicle began to move or to stand.

    Attributes:
        is_moving: Which.
        since: When it truly began, which is before it was sure.
        unseen_m: Straight distance by which it was moved while nobody saw it move.
    """

    is_moving: bool
    since: Moment
    unseen_m: float = 0.0


class StandingJudge:
    """Judges cleaned fixes of one vehicle as they come; it begins as one that stands.

    * Moving: 25 m in fixes of 3 m/s and more that positions agree with; or 36 m within 35 s, at
      1 m/s and more for 85 % of the time, that positions agree with, and that lead away from
      where it stood by twice what fixes scatter there.
    * Standing: 5 s below 0.5 m/s; or a minute that is neither fast nor goes anywhere.

    So a move of less than 36 m, one slower than 1.2 m/s, or a slow one in a place where fixes
    scatter as far as it goes, is not seen. Without speeds the limit is 150 m: positions have no
    second witness then.

    Args:
        gap_after_s: A pause from which on nothing is concluded from what was before it; of slow
            receivers three times their usual interval.
        forget_after_s: A pause after which a moving vehicle is taken for one that stands.
    """

    def __init__(self, *, gap_after_s: float = 15.0, forget_after_s: float = 600.0) -> None:
        self.is_moving = False
        self._gap_after_s = gap_after_s
        self._forget_after_s = forget_after_s
        self._origin: Fix | None = None
        self._window: deque[Moment] = deque()
        self._intervals_s: deque[float] = deque(maxlen=15)
        self._anchor = Anchor()
        self._unlearnt: deque[Moment] = deque()
        self._away_since_s: float | None = None
        self._unseen_m = 0.0
        self._moving_since_s = 0.0
        self._after_gap = False

    @property
    def last(self) -> Moment | None:
        """The newest fix."""
        return self._window[-1] if self._window else None

    def settled(self) -> Fix:
        """Return the newest fix; of a vehicle at rest with the mean place, known ever better.

        Call it after a :meth:`push`.
        """
        now = self._window[-1]
        if self.is_moving or self._origin is None:
            return now.fix
        return self._anchor.mean_fix(now, self._origin)

    def resume(self, last: Moment, *, is_moving: bool) -> None:
        """Go on where another judge was; the time since then is an interval like any other.

        Args:
            last: Its newest fix.
            is_moving: What it judged.
        """
        self._origin = last.fix
        here = replaced(last, last.fix)
        self._window = deque([here])
        self._anchor.settle(here)
        self.is_moving, self._moving_since_s = is_moving, last.time_s

    def push(self, fix: Fix) -> Change | None:
        """Take the next cleaned fix and return what is now known to have changed."""
        moment = self._added(fix)
        if self.is_moving:
            since = self._stopped()
            if since is None:
                return None
            self._settle(since)
            return Change(is_moving=False, since=since)
        since = self._started(moment)
        if since is None:
            self._rest(moment)
            return None
        away_m = self._anchor.distance_m(since)
        unseen_m = self._unseen_m + (away_m if away_m > self._anchor.reach_m else 0.0)
        self.is_moving, self._unseen_m, self._moving_since_s = True, 0.0, since.time_s
        return Change(is_moving=True, since=since, unseen_m=unseen_m)

    def _added(self, fix: Fix) -> Moment:
        """Return the fix as a moment, at the end of the window."""
        last = self.last
        if last is None:
            self._origin = fix
            moment = moment_of(fix, fix)
            self._anchor.settle(moment)
        else:
            elapsed_s = fix.captured_at_s - last.time_s
            is_gap = not 0 < elapsed_s <= self._longest_interval_s()
            self._intervals_s.append(elapsed_s)
            if is_gap:
                self._skip(last, elapsed_s)
            moment = replace(self._followed(last, fix), gap_s=elapsed_s if is_gap else None)
        self._window.append(moment)
        # Slow receivers need as many fixes, not as little time.
        while len(self._window) > _LEAST_FIXES and (
            moment.time_s - self._window[0].time_s > _WINDOW_S
        ):
            self._window.popleft()
        return moment

    def _longest_interval_s(self) -> float:
        """Return the interval that is no gap yet; slow receivers have longer ones."""
        usual_s = statistics.median(self._intervals_s) if len(self._intervals_s) > RUN else 0.0
        return max(self._gap_after_s, _GAP_INTERVALS * usual_s)

    def _skip(self, last: Moment, elapsed_s: float) -> None:
        """Forget what was before a gap."""
        self._window.clear()
        self._after_gap = True
        self._away_since_s = None
        if self.is_moving and not 0 < elapsed_s < self._forget_after_s:
            self._settle(last)

    def _followed(self, last: Moment, fix: Fix) -> Moment:
        origin = self._origin or fix
        east_m, north_m = offset_m(
            origin.latitude_deg, origin.longitude_deg, fix.latitude_deg, fix.longitude_deg
        )
        if math.hypot(east_m, north_m) > _REACH_M:
            self._origin = origin = fix
            self._window = deque(replaced(moment, origin) for moment in self._window)
            self._anchor.move(origin)
            last, east_m, north_m = replaced(last, origin), 0.0, 0.0
        here = replace(last, fix=fix, east_m=east_m, north_m=north_m)
        if not self._window:  # after a gap nothing is added
            return replace(here, speed_mps=fix.speed_mps or 0.0, has_course=has_course(fix))
        speed_mps = fix.speed_mps if fix.speed_mps is not None else self._speed_mps(here)
        elapsed_s = fix.captured_at_s - last.time_s
        mean_mps = (speed_mps + last.speed_mps) / 2
        heading = math.radians(fix.heading_deg or 0.0)
        return replace(
            here,
            speed_mps=speed_mps,
            way_m=last.way_m + mean_mps * elapsed_s,
            east_way_m=last.east_way_m + mean_mps * elapsed_s * math.sin(heading),
            north_way_m=last.north_way_m + mean_mps * elapsed_s * math.cos(heading),
            slow_s=last.slow_s + (elapsed_s if speed_mps < SLOW_MPS else 0.0),
            has_course=has_course(fix),
            steady_mps=min(speed_mps, last.speed_mps),
        )

    def _speed_mps(self, here: Moment) -> float:
        """Return the speed between positions, less what noise alone may be."""
        before = next(
            (m for m in reversed(self._window) if here.time_s - m.time_s >= _BASE_S),
            self._window[0],
        )
        noise_m = max(_LEAST_ERROR_M, 3 * accuracy_m(here.fix))
        # Half of the noise each way: a fast vehicle is not made slower by much.
        way_m = distance_m(before, here)
        elapsed_s = max(here.time_s - before.time_s, 1e-3)
        return way_m / elapsed_s if way_m > noise_m else 0.0

    # From standing to moving

    def _started(self, now: Moment) -> Moment | None:
        """Return since when the vehicle moves; None while that is not sure."""
        if now.fix.speed_mps is None:
            return self._went_away(now)
        if self._is_fast(now):
            return self._first_of_motion()
        return self._slow_but_sure(now)

    def _is_fast(self, now: Moment) -> bool:
        run = list(takewhile(lambda m: m.speed_mps >= FAST_MPS, reversed(self._window)))
        first = run[-1] if run else now
        way_m = now.way_m - first.way_m
        allowed_m = max(_LEAST_ERROR_M, 2 * accuracy_m(now.fix), AGREEING_SHARE * way_m)
        return len(run) >= RUN and way_m >= _FAST_WAY_M and misfit_m(first, now) <= allowed_m

    def _slow_but_sure(self, now: Moment) -> Moment | None:
        # What fixes scatter here, or may where the vehicle has not stood for long.
        scatter_m = max(self._anchor.scatter_m, _SCATTER_SIGMAS * accuracy_m(now.fix))
        # Without headings chance agrees far more often.
        needed_m = max(SLOW_WAY_M, 2 * scatter_m) * (1 if now.has_course else 2)
        begin_m = now.way_m - needed_m
        first = next((m for m in reversed(self._window) if m.way_m <= begin_m), None)
        if first is None or now.time_s - first.time_s > needed_m / SLOW_WAY_M * _SLOW_FOR_S:
            return None
        window = self._since(first.time_s)
        slow_s = now.slow_s - first.slow_s
        if len(window) < 2 * RUN or slow_s > (1 - _SLOW_SHARE) * (now.time_s - first.time_s):
            return None
        away_m = self._anchor.distance_m(mean_of(window[-RUN:]))
        if not agrees(window) or away_m < max(needed_m / 2, 2 * scatter_m):
            return None
        return first

    def _went_away(self, now: Moment) -> Moment | None:
        """Judge by positions alone: far away, for some time, and not by one jump."""
        away = list(
            takewhile(
                lambda m: self._anchor.distance_m(m) > self._anchor.reach_m, reversed(self._window)
            )
        )
        if len(away) < RUN or now.time_s - away[-1].time_s < 2 * _BASE_S:
            return None
        before = [m for m in self._window if m.time_s < away[-1].time_s]
        path = [*before[-1:], *reversed(away)]
        step_m = max(distance_m(a, b) for a, b in pairwise(path))
        net_m = distance_m(path[0], path[-1])
        return path[0] if net_m > UNSEEN_M and step_m < 2 * net_m / 3 else None

    def _first_of_motion(self) -> Moment:
        first = self._window[-1]
        for moment in reversed(self._window):
            first = moment
            if moment.speed_mps < STILL_MPS:
                break
        return first

    # From moving to standing

    def _stopped(self) -> Moment | None:
        """Return since when the vehicle stands; None while that is not sure."""
        now = self._window[-1]
        still = list(takewhile(lambda m: m.speed_mps < STILL_MPS, reversed(self._window)))
        if still and now.time_s - still[-1].time_s >= _STILL_FOR_S:
            return still[-1]
        begin_s = now.time_s - _UNDECIDED_FOR_S
        if max(self._window[0].time_s, self._moving_since_s) > begin_s:
            return None
        window = self._since(begin_s)
        is_fast = any(min(a.speed_mps, b.speed_mps) >= FAST_MPS for a, b in pairwise(window))
        slow_share = (now.slow_s - window[0].slow_s) / (now.time_s - window[0].time_s)
        if is_fast or slow_share <= 1 - _CREEPING_SHARE or goes_on(window):
            return None
        return next((m for m in window if m.speed_mps < SLOW_MPS), window[0])

    # At rest

    def _settle(self, since: Moment) -> None:
        self.is_moving = False
        self._away_since_s = None
        self._unlearnt.clear()
        self._anchor.settle(since)

    def _rest(self, now: Moment) -> None:
        """Learn how positions scatter here; notice a vehicle that was moved unseen."""
        away_m = self._anchor.distance_m(now)
        limit_m = self._anchor.reach_m * (1 if self._after_gap else 2)
        if away_m <= limit_m:
            self._away_since_s = None
            self._unlearnt.append(now)
            # Not at once: the first fixes of a slow move would move the anchor along.
            while len(self._unlearnt) > RUN and (
                now.time_s - self._unlearnt[0].time_s > _LEARNT_AFTER_S
            ):
                self._anchor.take(self._unlearnt.popleft())
            return
        if self._away_since_s is None:
            self._away_since_s = now.time_s
        usual_s = statistics.median(self._intervals_s) if self._intervals_s else 0.0
        patience_s = max(_STILL_FOR_S if self._after_gap else _UNDECIDED_FOR_S, 2 * RUN * usual_s)
        if now.time_s - self._away_since_s >= patience_s:
            self._unseen_m += away_m
            self._after_gap = False
            self._settle(now)

    def _since(self, time_s: float) -> list[Moment]:
        return [m for m in self._window if m.time_s >= time_s]
