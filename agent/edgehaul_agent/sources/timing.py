"""When a live picture was taken, and how long to wait before connecting again."""

from __future__ import annotations

import logging
import random

from edgehaul.errors import AuthError, EdgeHaulError

_log = logging.getLogger(__name__)

_WINDOW_S = 5.0
_TOLERANCE_S = 1.0
_LEAST_STEP_S = 0.001
_REFUSED_SPREAD = 1.25


class CaptureTimes:
    """Gives each frame of a live camera a capture time by this box's clock.

    A camera's own timestamps say how far apart two frames were taken, and nothing of when; the
    moment of arrival says when, with the delays of network and decoder in it. So a frame's time
    is its timestamp plus the smallest delay (arrival less timestamp) of the last five to ten
    seconds, which is what an undisturbed frame has. It is never later than the arrival. Where it
    would be more than a second earlier, the timestamps have jumped or the link was held up: the
    time of arrival is taken, and measuring begins anew. A timestamp that jumps forward makes a
    smaller delay and so gives the time of arrival by itself. Without timestamps the arrival counts.

    Times never go back: a frame that would lie before its predecessor comes 1 ms after it. The one
    exception is a box whose own clock is set back by more than a second; then times follow it,
    for they must be near those of the wall clock.
    """

    def __init__(self) -> None:
        self._last_s = float("-inf")
        self.restart()

    def restart(self) -> None:
        """Forget the timestamps, for a new connection."""
        self._window_from_s = float("-inf")
        self._delay_s = self._former_delay_s = float("inf")

    def captured_at_s(self, timestamp_s: float | None, *, now_s: float) -> float:
        """Return the capture time of the next frame, UTC seconds.

        Args:
            timestamp_s: The camera's timestamp, from any origin; none where it gives none.
            now_s: The time of arrival, UTC seconds.
        """
        time_s = now_s if timestamp_s is None else self._by_timestamp_s(timestamp_s, now_s)
        if time_s <= self._last_s:
            if self._last_s - now_s > _TOLERANCE_S:
                _log.warning("the clock was set back by %.1f s", self._last_s - now_s)
            else:
                time_s = self._last_s + _LEAST_STEP_S
        self._last_s = time_s
        return time_s

    def _by_timestamp_s(self, timestamp_s: float, now_s: float) -> float:
        delay_s = now_s - timestamp_s
        if abs(now_s - self._window_from_s) > _WINDOW_S:
            # Also where the clock was set: the beginning of the window is then far away.
            first = self._window_from_s == float("-inf")
            self._former_delay_s = delay_s if first else self._delay_s
            self._delay_s = delay_s
            self._window_from_s = now_s
        self._delay_s = min(self._delay_s, delay_s)
        least_s = min(self._delay_s, self._former_delay_s)
        if delay_s - least_s > _TOLERANCE_S:
            self._delay_s = self._former_delay_s = least_s = delay_s
        return timestamp_s + least_s


class Backoff:
    """How long to wait before connecting again.

    Pauses double up to the longest, each shortened by chance by up to a half, so that cameras
    that failed together do not come back together. A refusal of name or password has a pause of
    its own, which chance only prolongs.

    Args:
        first_s: The first pause.
        longest_s: The longest pause.
        refused_s: The pause after a refusal.
        chance: Source of the jitter.
    """

    def __init__(
        self, first_s: float, longest_s: float, *, refused_s: float, chance: random.Random
    ) -> None:
        self._first_s = first_s
        self._longest_s = max(first_s, longest_s)
        self._refused_s = refused_s
        self._chance = chance
        self._next_s = first_s

    def pause_s(self, fault: EdgeHaulError) -> float:
        """Return the pause after this fault."""
        if isinstance(fault, AuthError):
            return self._refused_s * self._chance.uniform(1.0, _REFUSED_SPREAD)
        pause_s = self._next_s * self._chance.uniform(0.5, 1.0)
        self._next_s = min(2 * self._next_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """Begin again with the first pause: the link has held."""
        self._next_s = self._first_s
