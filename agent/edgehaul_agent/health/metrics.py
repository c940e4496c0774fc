"""Counters of one stream, which go on when it is started again."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import deque
from typing import Protocol

import msgspec
import numpy as np

from edgehaul.clock import Clock
from edgehaul.messages.payloads import StreamHealth

_RECENT = 10_000
"""Latencies kept for the account of a whole run."""
LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper ends of the classes of the histogram, inclusive; a last class has all above."""


class Losses(Protocol):
    """What a stream lost before the model saw it."""

    def dropped(self) -> int:
        """Frames refused by policy or stride."""
        ...

    def gated(self) -> int:
        """Frames that nobody wanted to look at: nothing moved, or it was not the hour."""
        ...

    def bad(self) -> int:
        """Frames that could not be decoded or used."""
        ...


class LatencyHistogram(msgspec.Struct, frozen=True):
    """All latencies since start.

    Attributes:
        counts: Number in each class of :data:`LATENCY_BOUNDS_MS`, and above the last one.
        sum_ms: Their sum.
    """

    counts: tuple[int, ...]
    sum_ms: float


class StreamMetrics:
    """Counts what the model saw of a stream; safe to use by several threads.

    Args:
        clock: For the rate.
        losses: Tells what never reached the model; none yet where the stream has not started.
    """

    def __init__(self, clock: Clock, losses: Losses | None = None) -> None:
        self.restarts = 0
        """How often the stream was started again."""
        self.runs = 0
        """How many runs of it have been followed."""
        self._clock = clock
        self._losses = losses
        self._lock = threading.Lock()
        self._processed = 0
        self._snapshots_lost = 0
        self._lost_before = (0, 0, 0)
        self._latencies_ms: list[float] = []
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._classes = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        self._sum_ms = 0.0
        self._started_s = self._interval_started_s = clock.monotonic_s()

    def follow(self, losses: Losses) -> None:
        """Go on with the losses of another run of the same stream."""
        with self._lock:
            self._lost_before = self._lost()
            self._losses = losses
            self.runs += 1

    def let_go(self, losses: Losses) -> None:
        """Keep the numbers of a run that has ended, and not the run with its model and pictures."""
        with self._lock:
            if losses is self._losses:
                self._lost_before = self._lost()
                self._losses = None

    def processed(self, latency_ms: float) -> None:
        """Count a frame with its time from the source to the result."""
        with self._lock:
            self._processed += 1
            self._latencies_ms.append(latency_ms)
            self._recent_ms.append(latency_ms)
            self._classes[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1
            self._sum_ms += latency_ms

    def lose_snapshot(self) -> None:
        """Count a picture that is not kept although it should be."""
        with self._lock:
            self._snapshots_lost += 1

    def take(self) -> StreamHealth:
        """Return the counters, and begin a new interval for rate and latencies."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            elapsed_s = now_s - self._interval_started_s
            latencies_ms, self._latencies_ms = self._latencies_ms, []
            self._interval_started_s = now_s
            processed, lost = self._processed, self._lost()
        return self._health(processed, lost, len(latencies_ms), elapsed_s, latencies_ms)

    def total(self) -> StreamHealth:
        """Return the counters with the rate since start, and the latencies of the last frames."""
        with self._lock:
            elapsed_s = self._clock.monotonic_s() - self._started_s
            latencies_ms, processed, lost = list(self._recent_ms), self._processed, self._lost()
        return self._health(processed, lost, processed, elapsed_s, latencies_ms)

    def histogram(self) -> LatencyHistogram:
        """Return the latencies since start."""
        with self._lock:
            return LatencyHistogram(tuple(self._classes), self._sum_ms)

    def _lost(self) -> tuple[int, int, int]:
        """Return the numbers of dropped, gated and bad frames, over all runs of the stream."""
        dropped, gated, bad = self._lost_before
        if self._losses is not None:
            dropped += self._losses.dropped()
            gated += self._losses.gated()
            bad += self._losses.bad()
        return dropped, gated, bad

    def _health(
        self,
        processed: int,
        lost: tuple[int, int, int],
        in_time: int,
        elapsed_s: float,
        latencies_ms: list[float],
    ) -> StreamHealth:
        p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99]) if latencies_ms else (0.0, 0.0)
        dropped, gated, bad = lost
        return StreamHealth(
            frames=processed + dropped + gated + bad,
            processed=processed,
            dropped=dropped,
            gated=gated,
            bad=bad,
            fps=round(in_time / max(elapsed_s, 1e-6), 2),
            latency_p50_ms=round(float(p50_ms), 2),
            restarts=self.restarts,
            latency_p99_ms=round(float(p99_ms), 2),
            snapshots_lost=self._snapshots_lost,
        )
