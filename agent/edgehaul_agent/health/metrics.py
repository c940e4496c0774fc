"""Counters of one stream, which go on when it is started again."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec
import numpy as np

from edgehaul.clock import Clock
from edgehaul.messages.health import SourceHealth, StreamHealth

_RECENT = 10_000
"""Latencies kept for the account of a whole run."""
LATENCY_BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Upper ends of the classes of the histogram, inclusive; a last class has all above."""


Reason = Literal["stride", "policy", "queue", "motion", "hours", "undecodable", "unusable"]
"""Why the model does not see a frame: the stride passes over it, nobody wants it when it comes, it
gives way to a newer one, nothing moves, it is not the hour, it cannot be decoded (or is no fix), or
cannot be used."""

OUTCOMES: dict[Reason, Literal["dropped", "gated", "bad"]] = {
    "stride": "dropped",
    "policy": "dropped",
    "queue": "dropped",
    "motion": "gated",
    "hours": "gated",
    "undecodable": "bad",
    "unusable": "bad",
}
"""What becomes of it in the coarser account."""


class Losses(Protocol):
    """What a stream lost before the model saw it."""

    def lost(self) -> Mapping[Reason, int]:
        """Return the number of frames that the model did not see, by reason."""
        ...

    def reconnects(self) -> int:
        """Return how often the source was tried to connect again."""
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
        self._clips = self._clips_lost = 0
        self._lost_before: Counter[Reason] = Counter()
        self._reconnects_before = 0
        self._frames_before = 0
        self._latencies_ms: list[float] = []
        self._recent_ms: deque[float] = deque(maxlen=_RECENT)
        self._classes = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        self._sum_ms = 0.0
        self._started_s = self._interval_started_s = clock.monotonic_s()

    def follow(self, losses: Losses) -> None:
        """Go on with the losses of another run of the same stream."""
        with self._lock:
            self._close_account()
            self._losses = losses
            self.runs += 1

    def let_go(self, losses: Losses) -> None:
        """Keep the numbers of a run that has ended, and not the run with its model and pictures."""
        with self._lock:
            if losses is self._losses:
                self._close_account()

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

    def write_clip(self) -> None:
        """Count a clip that is written."""
        with self._lock:
            self._clips += 1

    def lose_clip(self) -> None:
        """Count a clip that is not written although it should be."""
        with self._lock:
            self._clips_lost += 1

    def take(self) -> StreamHealth:
        """Return the counters, and begin a new interval for rate and latencies."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            elapsed_s = now_s - self._interval_started_s
            latencies_ms, self._latencies_ms = self._latencies_ms, []
            self._interval_started_s = now_s
            processed, lost, reconnects = self._processed, self._lost(), self._reconnects()
            frames = processed + lost.total()
            came, self._frames_before = frames - self._frames_before, frames
            health = self._health(processed, lost, reconnects)
        return _with_rates(health, came, len(latencies_ms), elapsed_s, latencies_ms)

    def total(self) -> StreamHealth:
        """Return the counters with the rate since start, and the latencies of the last frames."""
        with self._lock:
            elapsed_s = self._clock.monotonic_s() - self._started_s
            latencies_ms, processed = list(self._recent_ms), self._processed
            health = self._health(processed, self._lost(), self._reconnects())
        return _with_rates(health, health.frames, processed, elapsed_s, latencies_ms)

    def histogram(self) -> LatencyHistogram:
        """Return the latencies since start."""
        with self._lock:
            return LatencyHistogram(tuple(self._classes), self._sum_ms)

    def _close_account(self) -> None:
        """Add what the present run has counted to what those before it have."""
        self._lost_before, self._reconnects_before = self._lost(), self._reconnects()
        self._losses = None

    def _lost(self) -> Counter[Reason]:
        """Return the number of frames lost by reason, over all runs of the stream."""
        now = self._losses.lost() if self._losses is not None else {}
        return self._lost_before + Counter(now)

    def _reconnects(self) -> int:
        now = self._losses.reconnects() if self._losses is not None else 0
        return self._reconnects_before + now

    def _health(self, processed: int, lost: Counter[Reason], reconnects: int) -> StreamHealth:
        """Return the counters."""
        outcomes: Counter[str] = Counter()
        for reason, count in lost.items():
            outcomes[OUTCOMES[reason]] += count
        return StreamHealth(
            frames=processed + lost.total(),
            processed=processed,
            dropped=outcomes["dropped"],
            gated=outcomes["gated"],
            bad=outcomes["bad"],
            dropped_by={str(reason): lost[reason] for reason in OUTCOMES if lost[reason]},
            restarts=self.restarts,
            snapshots_lost=self._snapshots_lost,
            clips=self._clips,
            clips_lost=self._clips_lost,
            source=SourceHealth(reconnects=reconnects),
        )


def _with_rates(
    health: StreamHealth, came: int, processed: int, elapsed_s: float, latencies_ms: list[float]
) -> StreamHealth:
    """Return the counters with what came and was processed in ``elapsed_s``, and latencies."""
    p50_ms, p99_ms = np.percentile(latencies_ms, [50, 99]) if latencies_ms else (0.0, 0.0)
    elapsed_s = max(elapsed_s, 1e-6)
    return msgspec.structs.replace(
        health,
        fps=round(processed / elapsed_s, 2),
        fps_in=round(came / elapsed_s, 2),
        latency_p50_ms=round(float(p50_ms), 2),
        latency_p99_ms=round(float(p99_ms), 2),
    )
