"""When a measurement begins and ends, and what is read then.

It begins when the streams have warmed up together and ends when the first of them has no more
frames: at both moments everything is at work, so that what is under way counts neither for nor
against anybody, and starting and stopping cost nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from edgehaul.clock import Clock
from edgehaul.errors import UsageError
from edgehaul_agent.benching.job import Limits
from edgehaul_agent.benching.process import resident_mib

_PATIENCE_S = 30.0
"""So long streams wait for one that does not open."""
Details = Callable[[], Mapping[str, float]]
"""Gives more seconds by name, that are read together with the others."""


class Sample(msgspec.Struct, frozen=True):
    """What is read at one moment."""

    wall_s: float
    cpu_s: float
    frames: Mapping[str, int]
    details_s: Mapping[str, float]
    rss_mib: float


class Gauge:
    """Counts the frames of all streams; safe to use by several threads.

    Args:
        limits: How long the run lasts.
        streams: Number of streams; none goes ahead before all are there.
        clock: Tells how late results are.
        details: What else to read at the beginning and the end.
    """

    def __init__(self, limits: Limits, streams: int, clock: Clock, details: Details = dict) -> None:
        self.latencies_s: list[float] = []
        self._limits = limits
        self._clock = clock
        self._details = details
        self._lock = threading.Condition()
        self._missing = streams
        self._begun = 0
        self._done: Counter[str] = Counter()
        self._taken_at_s: dict[tuple[str, float], float] = {}
        self._first: Sample | None = None
        self._last: Sample | None = None

    def begin(self, number: int) -> bool:
        """Count a frame that has come; return whether the stream is to go on with it.

        Args:
            number: How many frames of this stream came before.
        """
        with self._lock:
            if number == 0:
                self._missing -= 1
                self._lock.notify_all()
                self._lock.wait_for(lambda: self._missing <= 0, _PATIENCE_S)
            if self._last is not None or self._is_enough(number):
                self._last = self._last or self._sample()
                return False
            self._begun += 1
            if self._first is None and self._begun > self._limits.warm_up_frames:
                self._first = self._sample()
            return True

    def take(self, stream: str, captured_at_s: float, taken_at_s: float) -> None:
        """Remember when a frame was captured: recordings have times of their own."""
        self._taken_at_s[stream, captured_at_s] = taken_at_s

    def finish(self, stream: str, captured_at_s: float = 0.0) -> float | None:
        """Count a frame that is done; return when it was captured, where its lateness counts."""
        taken_at_s = self._taken_at_s.pop((stream, captured_at_s), None)
        with self._lock:
            self._done[stream] += 1
            return taken_at_s if self._first is not None and self._last is None else None

    def durable(self, taken_at_s: float) -> None:
        """Note how late a result is that has come onto the disk just now."""
        self.latencies_s.append(self._clock.monotonic_s() - taken_at_s)

    @property
    def window(self) -> tuple[Sample, Sample]:
        """What was read at the beginning and the end.

        Raises:
            UsageError: The run was over before it had warmed up.
        """
        if self._first is None or self._last is None or self._last.frames == self._first.frames:
            raise UsageError(
                "the streams ended before anything could be measured",
                remedy="ask for more --frames or --seconds",
            )
        return self._first, self._last

    def percentiles_ms(self) -> tuple[float, float]:
        """Return median and 99 % of the latencies; 0 where there are none."""
        if not self.latencies_s:
            return 0.0, 0.0
        p50_s, p99_s = np.percentile(self.latencies_s, [50, 99])
        return 1000 * float(p50_s), 1000 * float(p99_s)

    def _is_enough(self, number: int) -> bool:
        limits = self._limits
        if limits.frames and number >= limits.frames:
            return True
        if not limits.duration_s or self._first is None:
            return False
        return self._clock.monotonic_s() - self._first.wall_s >= limits.duration_s

    def _sample(self) -> Sample:
        return Sample(
            wall_s=self._clock.monotonic_s(),
            cpu_s=time.process_time(),
            frames=dict(self._done),
            details_s=dict(self._details()),
            rss_mib=resident_mib(),
        )
