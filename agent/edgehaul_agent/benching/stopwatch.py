"""Processor time by stage, measured in the threads that work for it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_NS = 1e9
_P = ParamSpec("_P")
_Result = TypeVar("_Result")


class _Lane(threading.local):
    """What one thread has spent; each has its own, so that none waits for another."""

    def __init__(self, every: list[Counter[str]]) -> None:
        self.inner_ns = 0
        self.spent_ns: Counter[str] = Counter()
        every.append(self.spent_ns)


class Stopwatch:
    """Adds up the processor time of calls, each without that of measured calls inside it.

    Threads that a library starts by itself are not seen: see ``process.thread_times``.
    """

    def __init__(self) -> None:
        self._every: list[Counter[str]] = []
        self._lane = _Lane(self._every)

    def measure(
        self,
        stage: str,
        function: Callable[_P, _Result],
        *arguments: _P.args,
        **options: _P.kwargs,
    ) -> _Result:
        """Call a function, add its processor time to a stage, and return what it returns."""
        lane = self._lane
        before_ns = lane.inner_ns
        started_ns = time.thread_time_ns()
        try:
            return function(*arguments, **options)
        finally:
            took_ns = time.thread_time_ns() - started_ns
            lane.spent_ns[stage] += took_ns - (lane.inner_ns - before_ns)
            lane.inner_ns = before_ns + took_ns

    def totals_s(self) -> dict[str, float]:
        """Return the seconds of all threads by stage."""
        total: Counter[str] = Counter()
        for spent_ns in tuple(self._every):
            total.update(dict(spent_ns))
        return {stage: ns / _NS for stage, ns in total.items()}
