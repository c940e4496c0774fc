"""Counters of one stream."""

from __future__ import annotations

import threading
from collections import deque
from typing import Protocol

import numpy as np

from edgehaul.clock import Clock
from edgehaul.messages.payloads import StreamHealth

_RECENT = 10_000
"""Latencies kept for the account of a whole run."""


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


class StreamMetrics:
    """Counts what the model saw of a stream; safe to use by several threads.

    Args:
        clock: For the rate.
        losses: Tells what never reached the model.
    """

    def __init__(self, clock: Clock, losses: Losses) -> None:
        self._clock = clock
        self._losses = losses
        self._lock = threading.Lock()
        self._processed = 0
        self._latencies_ms: list[float] = []
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._started_s = self._interval_started_s = clock.monotonic_s()

    def processed(self, latency_ms: float) -> None:
        """Count a frame with its time from the source to the result."""
        with self._lock:
            self._processed += 1
            self._latencies_ms.append(latency_ms)
            self._recent_ms.append(latency_ms)

    def take(self) -> StreamHealth:
        """Return the counters, and begin a new interval for rate and latencies."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            elapsed_s = now_s - self._interval_started_s
            latencies_ms, self._latencies_ms = self._latencies_ms, []
            self._interval_started_s = now_s
            processed = self._processed
        return self._health(processed, len(latencies_ms), elapsed_s, latencies_ms)

    def total(self) -> StreamHealth:
        """Return the counters with the rate since start, and the latencies of the last frames."""
        with self._lock:
            elapsed_s = self._clock.monotonic_s() - self._started_s
            latencies_ms, processed = list(self._recent_ms), self._processed
        return self._health(processed, processed, elapsed_s, latencies_ms)

    def _health(
        self, processed: int, in_time: int, elapsed_s: float, latencies_ms: list[float]
    ) -> StreamHealth:
        p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99]) if latencies_ms else (0.0, 0.0)
        dropped, gated, bad = self._losses.dropped(), self._losses.gated(), self._losses.bad()
        return StreamHealth(
            frames=processed + dropped + gated + bad,
            processed=processed,
            dropped=dropped,
            gated=gated,
            bad=bad,
            fps=round(in_time / max(elapsed_s, 1e-6), 2),
            latency_p50_ms=round(float(p50_ms), 2),
            latency_p99_ms=round(float(p99_ms), 2),
        )
