"""Handing frames from the thread that decodes a stream to the worker that looks at them.

Which frames are looked at is decided before they are decoded: a frame that nobody will look at
costs half a millisecond less, and none waits in a queue and grows old.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from edgehaul.clock import Clock
from edgehaul.config.device import Policy
from edgehaul_agent.pipeline.workers import Seat

T = TypeVar("T")
_MOST_CREDIT = 1.5
"""Turns that a stream may have saved up: frames come at their own times, mostly some time after
the stream's turn has come, and what it waited beyond that is not lost."""
_RECENTLY = 2.0
"""So many fair intervals a refusal counts: a camera that gives nothing any more holds up nobody."""


class Handover(Generic[T]):
    """A short queue between one stream's reader and the workers.

    ``every`` makes the reader wait for room. ``latest`` lets a frame in while a worker is free,
    and otherwise when the stream's turn has come, so that the frame is looked at within about two
    turns. ``adaptive`` does so at even intervals, which trackers like better. ``drop_oldest``
    lets all in, and forgets the oldest of ``room`` waiting ones.

    Args:
        policy: Which frames are looked at.
        seat: The stream's place in the workers' line.
        clock: Measures intervals.
        room: Most frames that wait.
    """

    def __init__(self, policy: Policy, seat: Seat, clock: Clock, room: int = 1) -> None:
        self.forgotten = 0
        """Items that gave way to newer ones; what was not wanted in the first place counts where it
        comes from."""
        self._policy = policy
        self._seat = seat
        self._clock = clock
        self._room = room
        self._items: deque[T] = deque()
        self._in_hand = 0
        self._changed = threading.Condition()
        self._open = True
        self._given_up = False
        self._let_in_at_s = -1e9
        self._credit = 1.0
        self._credited_at_s = clock.monotonic_s()

    @property
    def open(self) -> bool:
        """Whether more is taken."""
        return self._open

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is being looked at."""
        with self._changed:
            return not (self._items or self._in_hand)

    def wants(self, *, last: bool) -> bool:
        """Whether the frame that has just come is to be decoded; waits for room under ``every``.

        Once closed it says yes: whoever asks shall come to know at once that it is closed.

        Args:
            last: Whether the reader stops after the next frame that is wanted.
        """
        with self._changed:
            if self._policy == "every":
                self._changed.wait_for(lambda: len(self._items) < self._room or not self._open)
                return True
            if last or not self._open or self._policy == "drop_oldest":
                return True
            if self._items:
                return False
            now_s = self._clock.monotonic_s()
            is_due = self._is_due(now_s)
            if not is_due:
                self._seat.pool.shares.refuse(self._seat, now_s)
            return is_due

    def put(self, item: T) -> list[T]:
        """Hand over an item that was wanted; return those that were forgotten for it."""
        forgotten = []
        with self._changed:
            if not self._open:
                return [item]
            if len(self._items) >= self._room:
                forgotten.append(self._items.popleft())
                self.forgotten += 1
            self._items.append(item)
            self._let_in_at_s = self._clock.monotonic_s()
            self._credit = max(0.0, self._credit - 1.0)
        self._seat.pool.shares.let_in(self._seat)
        self._seat.call()
        return forgotten

    def take(self) -> T | None:
        """Return the next item, to be :meth:`done` with; none where nothing waits."""
        with self._changed:
            if not self._items:
                return None
            self._in_hand += 1
            return self._items.popleft()

    def done(self) -> bool:
        """Say that the item is looked at; return whether another waits."""
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()
            return bool(self._items)

    def close(self) -> None:
        """Take no more; what waits is still looked at."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def abandon(self) -> None:
        """Take no more, and forget what waits."""
        with self._changed:
            self._items.clear()
        self.close()

    def give_up(self) -> None:
        """Take no more, and wait no longer for the worker that has an item in its hands."""
        with self._changed:
            self._given_up = True
        self.abandon()

    def wait_empty(self) -> None:
        """Return when nothing waits and nothing is in a worker's hands, or nobody hopes for it."""
        with self._changed:
            self._changed.wait_for(lambda: self._given_up or self.is_idle)

    def _is_due(self, now_s: float) -> bool:
        pool = self._seat.pool
        interval_s = pool.fair_interval_s
        if self._policy == "adaptive":
            return now_s - self._let_in_at_s >= interval_s
        if self._has_turn(now_s, interval_s):
            return True
        recently_s = now_s - _RECENTLY * interval_s
        return not pool.is_busy and pool.shares.may_take(self._seat, since_s=recently_s)

    def _has_turn(self, now_s: float, interval_s: float) -> bool:
        """Whether the stream has waited for its turn, which comes once in ``interval_s``."""
        if interval_s <= 0:
            return True
        waited = (now_s - self._credited_at_s) / interval_s
        self._credited_at_s = now_s
        self._credit = min(self._credit + waited, _MOST_CREDIT)
        return self._credit >= 1.0
