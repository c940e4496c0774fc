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
from edgehaul_agent.pipeline.shares import Shares

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
        self.shares = Shares()
        self._turn_s = 0.0
        self._closed = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start the threads."""
        for _ in range(self.workers):
            self._start_thread()
        return self

    def __exit__(self, *exception: object) -> None:
        """Finish what stands in line, and end the threads, but for those that were given up."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            threads = list(self._threads)
        for thread in threads:
            thread.join()

    @property
    def is_busy(self) -> bool:
        """Whether whoever comes now has to wait longer than for a worker to become free."""
        return len(self._line) >= self.workers

    @property
    def fair_interval_s(self) -> float:
        """Time between two turns of one stream if all of them always had something to do."""
        return self._turn_s * len(self.shares) / self.workers

    def seat(self, take_turn: Callable[[], bool]) -> Seat:
        """Return a stream's place in the line.

        Args:
            take_turn: Does one piece of work, and returns whether there is more. It must not
                raise: a worker has nobody to tell.
        """
        seat = Seat(self, take_turn)
        self.shares.join(seat)
        return seat

    def leave(self, seat: Seat) -> None:
        """Count one stream less; once more does nothing."""
        self.shares.leave(seat)

    def give_up(self, seat: Seat) -> None:
        """Let a stream go whose turn does not end: another thread takes the worker's place.

        The thread that has the turn in hand ends by itself should the turn ever end.
        """
        self.leave(seat)
        with self._changed:
            if seat.state == "lost":
                return
            if seat in self._line:
                self._line.remove(seat)
            is_working = seat.state in {"working", "called"}
            seat.state = "lost"
            if not is_working:
                seat.thread = None
            elif seat.thread in self._threads:
                self._threads.remove(seat.thread)
                self._start_thread()

    def is_whole(self) -> bool:
        """Return whether as many threads as there should be are at work."""
        with self._changed:
            return sum(thread.is_alive() for thread in self._threads) == self.workers

    def turn_s(self, seat: Seat) -> float:
        """Return how long a stream's turn has been going on; 0 where it has none."""
        with self._changed:
            if seat.state not in {"working", "called"}:
                return 0.0
            return self._clock.monotonic_s() - seat.started_s

    def call(self, seat: Seat) -> None:
        """Let a stream stand in line, unless it does already."""
        with self._changed:
            if seat.state == "idle":
                seat.state = "waiting"
                self._line.append(seat)
                self._changed.notify()
            elif seat.state == "working":
                seat.state = "called"

    def _start_thread(self) -> None:
        name = f"worker-{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Do one turn of the next stream, and keep nothing of it; return whether to go on."""
        seat = self._next()
        if seat is None:
            return False
        more = seat.take_turn()
        return self._done(seat, more, self._clock.monotonic_s() - seat.started_s)

    def _next(self) -> Seat | None:
        with self._changed:
            self._changed.wait_for(lambda: self._line or self._closed)
            if not self._line:
                return None
            seat = self._line.popleft()
            seat.state = "working"
            seat.thread = threading.current_thread()
            seat.started_s = self._clock.monotonic_s()
            return seat

    def _done(self, seat: Seat, more: bool, took_s: float) -> bool:  # noqa: FBT001 - internal
        """Return whether this thread still belongs to the pool."""
        with self._changed:
            if seat.state == "lost":
                return threading.current_thread() in self._threads
            self._turn_s += _SMOOTHING * (took_s - self._turn_s) if self._turn_s else took_s
            if more or seat.state == "called":
                seat.state = "waiting"
                self._line.append(seat)
                self._changed.notify()
            else:
                seat.state = "idle"
            return True


class Seat:
    """A stream's place in the line of a :class:`WorkerPool`, which makes it.

    Args:
        pool: Whose line.
        take_turn: See :meth:`WorkerPool.seat`.
    """

    def __init__(self, pool: WorkerPool, take_turn: Callable[[], bool]) -> None:
        self.pool = pool
        self.take_turn = take_turn
        self.state: Literal["idle", "waiting", "working", "called", "lost"] = "idle"
        self.thread: threading.Thread | None = None
        self.started_s = 0.0

    def call(self) -> None:
        """Stand in line: there is something to do."""
        self.pool.call(self)

    def leave(self) -> None:
        """Count no more among the streams that share the workers."""
        self.pool.leave(self)

    def give_up(self) -> None:
        """See :meth:`WorkerPool.give_up`."""
        self.pool.give_up(self)

    def turn_s(self) -> float:
        """Return how long the present turn has been going on; 0 where there is none."""
        return self.pool.turn_s(self)

    def holds_thread(self) -> bool:
        """Return whether the seat was given up, and a thread is still busy with its turn."""
        return self.state == "lost" and self.thread is not None and self.thread.is_alive()
