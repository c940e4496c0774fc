"""Keeps one stream running: starts it, watches it, and starts it again."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.addresses import shown_text
from edgehaul.config.service import SupervisionSection
from edgehaul.errors import EdgeHaulError, SourceError, SpoolError
from edgehaul.messages.health import SourceHealth, StreamHealth, StreamState
from edgehaul_agent.attempt import Attempt
from edgehaul_agent.health.metrics import LatencyHistogram, StreamMetrics
from edgehaul_agent.restarts import (
    CrashError,
    StallError,
    Stream,
    is_live,
    outlook,
    pause_s,
    stall_timeout_s,
)
from edgehaul_agent.sources.base import Condition

_log = logging.getLogger(__name__)

_OPENING = 4
"""Opening may take so many times as long as a frame."""
_STOP_PATIENCE_S = 10.0
"""Longest wait for a stream that was told to stop and does not move on."""
_STEADY_S = 120.0
"""Who has run for so long and fails again has met another fault."""


class Keeper:
    """One stream, over all its runs. One thread calls; others may ask for its health.

    Args:
        stream: Its configuration.
        attempt: Makes a run of it; :attr:`failure` says what ended the one before.
        section: How patient to be.
        clock: Measures.
        chance: Spreads the tries.
        metrics: Counters to go on with.

    Attributes:
        state: What the stream is doing.
        failure: Why it cannot run, or why it failed the last time.
        has_opened: Whether it has run at all.
    """

    def __init__(
        self,
        stream: Stream,
        attempt: Callable[[Keeper], Attempt],
        section: SupervisionSection,
        *,
        clock: Clock,
        chance: random.Random,
        metrics: StreamMetrics,
    ) -> None:
        self.stream = stream
        self.section = section
        self.metrics = metrics
        self.state: StreamState = "starting"
        self.failure: EdgeHaulError | None = None
        self.has_opened = False
        self._new_attempt = attempt
        self._clock = clock
        self._chance = chance
        self._attempt: Attempt | None = None
        self._lost: list[Attempt] = []
        self._failures = 0
        self._is_stopping = False
        self._since_s = 0.0
        self._forgiven_at_s = float("-inf")
        self._last_fault = ""
        self._frame_at_s: float | None = None
        self._told = ""
        self._crashes: set[str] = set()

    # ---- what others ask -----------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the stream."""
        return self.stream.name

    @property
    def is_over(self) -> bool:
        """Whether it has ended or failed for good."""
        return self.state in {"ended", "failed"}

    def lost(self) -> list[Attempt]:
        """Return the runs that were given up and whose threads are still there."""
        self._lost = [attempt for attempt in self._lost if attempt.holds_threads()]
        return self._lost

    def take(self) -> StreamHealth:
        """Return how it is doing, and begin a new interval for rate and latencies."""
        return self._complete(self.metrics.take())

    def total(self) -> StreamHealth:
        """Return how it has been doing since start."""
        return self._complete(self.metrics.total())

    def histogram(self) -> LatencyHistogram:
        """Return the latencies since start."""
        return self.metrics.histogram()

    def _complete(self, health: StreamHealth) -> StreamHealth:
        attempt = self._attempt
        condition = attempt.condition() if attempt is not None else None
        away = condition.last_fault if condition is not None and condition.is_away else ""
        fault = shown_text(away or str(self.failure or ""))
        source = self._source(health.source, condition)
        return msgspec.structs.replace(health, state=self.state, fault=fault, source=source)

    def _source(self, counted: SourceHealth, condition: Condition | None) -> SourceHealth:
        self._note_source(self._attempt)
        age_s = None
        if self._frame_at_s is not None:
            age_s = round(max(0.0, self._clock.monotonic_s() - self._frame_at_s), 2)
        return msgspec.structs.replace(
            counted,
            state=condition.state if condition is not None else "closed",
            last_fault=shown_text(self._last_fault),
            frame_age_s=age_s,
        )

    def _note_source(self, attempt: Attempt | None) -> None:
        """Keep what is known of the source over its runs."""
        if attempt is None:
            return
        condition, at_s = attempt.condition(), attempt.frame_at_s()
        if condition is not None and condition.last_fault:
            self._last_fault = condition.last_fault
        if at_s is not None:
            self._frame_at_s = at_s

    # ---- what the supervisor does --------------------------------------------------------

    def step(self) -> bool:
        """Look after the stream once.

        Returns:
            Whether there is news: it failed, or runs again after it did.

        Raises:
            SpoolError: Results can no longer be stored.
        """
        before = (self.state, self.metrics.restarts)
        if self._attempt is not None:
            self._look_after(self._attempt)
        elif not self.is_over and self._clock.monotonic_s() >= self._since_s:
            self._start()
        is_news = self.state in {"waiting", "failed"} or self.metrics.restarts > 0
        return is_news and before != (self.state, self.metrics.restarts)

    def try_now(self) -> None:
        """Do not wait any longer for the next try."""
        if self.state == "waiting":
            self._since_s = self._clock.monotonic_s()

    def forgive(self) -> None:
        """Count no silence from before now: nobody in this process could do anything."""
        self._forgiven_at_s = self._clock.monotonic_s()

    def stop(self) -> None:
        """End it; what was taken from the source is processed. Call :meth:`step` until it is."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._since_s = self._clock.monotonic_s()
        if self._attempt is not None:
            self._attempt.stop.set()
        elif not self.is_over:
            self.state = "ended"

    def _start(self) -> None:
        if self._failures:
            self.metrics.restarts += 1
            _log.info("stream %s: starting again (%d)", self.name, self.metrics.restarts)
        self.state = "starting"
        self._since_s = self._clock.monotonic_s()
        self._attempt = self._new_attempt(self)
        self._attempt.start()

    def _look_after(self, attempt: Attempt) -> None:
        self._note_source(attempt)
        if attempt.has_opened and self.state == "starting":
            self.has_opened = True
            self.state = "running"
        if attempt.has_failed:
            attempt.stop.set()  # its camera may be away for days before it learns with a frame
        if attempt.is_over:
            self.has_opened = self.has_opened or attempt.has_opened
            self._attempt = None
            self._end(attempt.error)
        elif stall := self._stall(attempt):
            attempt.give_up()
            self._attempt = None
            self._lost.append(attempt)
            self._end(StallError(stall, remedy="see what is said of it before in the log"))
        elif self._clock.monotonic_s() - self._since_s > _STEADY_S and not self._is_stopping:
            self._failures = 0

    def _stall(self, attempt: Attempt) -> str:
        """Return what hangs; empty for nothing."""
        limit_s = self.section.stall_timeout_s
        now_s = self._clock.monotonic_s()
        opening_s, turn_s = attempt.opening_s(), attempt.turn_stuck_s()
        reading_s = attempt.reader_stuck_s()
        if self._is_stopping:
            limit_s = min(limit_s, _STOP_PATIENCE_S)
            if now_s - self._since_s >= limit_s <= max(attempt.silent_s(), opening_s):
                return f"its source did not end within {limit_s:g} s"
        seen_s = now_s - self._forgiven_at_s
        if min(opening_s, seen_s) >= _OPENING * limit_s:
            return f"source and model were not open after {_OPENING * limit_s:g} s"
        if min(turn_s, seen_s) >= limit_s:
            return f"model and rules were not done with a frame after {limit_s:g} s"
        silence_s = stall_timeout_s(self.stream, self.section)
        if is_live(self.stream) and min(reading_s, seen_s) >= silence_s:
            return f"nothing moved on for {silence_s:g} s, although its source is there"
        return ""

    def _end(self, error: Exception | None) -> None:
        if isinstance(error, SpoolError):
            self.state = "failed"
            raise error
        if self._is_stopping and (error is None or isinstance(error, StallError)):
            if error is not None:
                _log.error("stream %s: %s; it is left behind", self.name, error)
            self.state = "ended"
        elif error is None and not is_live(self.stream):
            _log.info("stream %s has ended", self.name)
            self.state = "ended"
        else:
            self._fail(error or SourceError("the live source has ended", where=self.name))

    def _fail(self, error: Exception) -> None:
        self.failure = error if isinstance(error, EdgeHaulError) else self._crash(error)
        if self._is_stopping or not is_live(self.stream):
            self.state = "failed"
            return
        wait_s = pause_s(outlook(self.failure), self._failures, self.section, self._chance)
        self._failures += 1
        self._since_s = self._clock.monotonic_s() + wait_s
        self.state = "waiting"
        # Its traceback would keep the pipeline with its model and pictures until the next failure.
        error.__traceback__ = None
        text, again = str(self.failure), "it is started again"
        level = logging.WARNING if text == self._told else logging.ERROR
        self._told = text
        _log.log(level, "stream %s: %s; %s in %.1f s", self.name, text, again, wait_s)

    def _crash(self, error: Exception) -> CrashError:
        """Return what nobody foresaw as an error for operators; log its traceback once."""
        crash = _crash_error(error)
        key = f"{type(error).__name__} {crash.where}"
        if key not in self._crashes:
            self._crashes.add(key)
            _log.error("stream %s: %s", self.name, crash, exc_info=error)
        return crash


def _crash_error(error: Exception) -> CrashError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return CrashError(
        f"unforeseen {type(error).__name__}: {error}",
        where=where,
        remedy="the log has its traceback; please report it",
    )
