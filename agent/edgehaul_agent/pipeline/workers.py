"""The threads that run models: a fixed number for all streams, each stream in its turn.

One worker for each processor, each running a model on one thread, does nearly twice the work of
one session on two threads. A stream is with one worker at a time, since its tracker belongs to one
frame at a time; streams stand in one line, so that none overtakes another.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, Self

from edgehaul.clock import Clock

_SMOOTHING = 0.1
"""Weight of the newest turn in the mean time of a turn."""


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class WorkerPool:
    """Works for all streams; use it in ``with``.

    Args:
        workers: Number of threads.
        clock: Measures how long a turn takes.
    """

    def __init__(self, workers: int, clock: Clock) -> None:
        self.workers = workers
        self._clock = clock
        self._changed = threading.Condition()
        self._line: deque[Seat] = deque()
        self._seats = 0
        self._turn_s = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start the threads."""
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Finish what stands in line, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def is_busy(self) -> bool:
        """Whether whoever comes now has to wait longer than for a worker to become free."""
        return len(self._line) >= self.workers

    @property
    def fair_interval_s(self) -> float:
        """Time between two turns of one stream if all of them always had something to do."""
        return self._turn_s * self._seats / self.workers

    def seat(self, take_turn: Callable[[], bool]) -> Seat:
        """Return a stream's place in the line.

        Args:
            take_turn: Does one piece of work, and returns whether there is more. It must not
                raise: a worker has nobody to tell.
        """
        with self._changed:
            self._seats += 1
        return Seat(self, take_turn)

    def leave(self) -> None:
        """Count one stream less."""
        with self._changed:
            self._seats -= 1

    def call(self, seat: Seat) -> None:
        """Let a stream stand in line, unless it does already."""
        with self._changed:
            if seat.state == "idle":
                seat.state = "waiting"
                self._line.append(seat)
                self._changed.notify()
            elif seat.state == "working":
                seat.state = "called"

    def _work(self) -> None:
        while (seat := self._next()) is not None:
            started_s = self._clock.monotonic_s()
            more = seat.take_turn()
            self._done(seat, more, self._clock.monotonic_s() - started_s)

    def _next(self) -> Seat | None:
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            if not self._line:
                return None
            seat = self._line.popleft()
            seat.state = "working"
            return seat

    def _done(self, seat: Seat, more: bool, took_s: float) -> None:  # noqa: FBT001 - internal
        with self._changed:
            self._turn_s += _SMOOTHING * (took_s - self._turn_s) if self._turn_s else took_s
            if more or seat.state == "called":
                seat.state = "waiting"
                self._line.append(seat)
                self._changed.notify()
            else:
                seat.state = "idle"


class Seat:
    """A stream's place in the line of a :class:`WorkerPool`, which makes it.

    Args:
        pool: Whose line.
        take_turn: See :meth:`WorkerPool.seat`.
    """

    def __init__(self, pool: WorkerPool, take_turn: Callable[[], bool]) -> None:
        self.pool = pool
        self.take_turn = take_turn
        self.state: Literal["idle", "waiting", "working", "called"] = "idle"

    def call(self) -> None:
        """Stand in line: there is something to do."""
        self.pool.call(self)
