"""Keeps all streams running, each by itself."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Collection, Iterable

from edgehaul.clock import Clock
from edgehaul.config.service import SupervisionSection
from edgehaul.errors import DeviceError, EdgeHaulError
from edgehaul_agent.attempt import Attempt
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.keeper import Keeper
from edgehaul_agent.restarts import Stream

_log = logging.getLogger(__name__)

_MOST_LOST = 16
"""So many runs left behind, with their threads and models, are more than a box can carry."""

_PAUSED_S = 5.0
"""Whoever is called so late was stopped with all its threads, or had no processor for them."""

NewAttempt = Callable[[Keeper, Callable[[], None]], Attempt]


class Supervisor:
    """Looks after the streams. One thread calls; others may read :attr:`keepers`.

    Args:
        attempt: Makes a run of a keeper's stream, given whom to call when it has ended.
        section: How patient to be.
        clock: Measures.
        chance: Spreads the tries.

    Attributes:
        keepers: By name of the stream; replaced as a whole, so that a reader sees no half of it.
    """

    def __init__(
        self,
        attempt: NewAttempt,
        section: SupervisionSection,
        *,
        clock: Clock,
        chance: random.Random | None = None,
    ) -> None:
        self.keepers: dict[str, Keeper] = {}
        self._retired: list[Keeper] = []
        self._next: dict[str, Stream] = {}
        self._metrics: dict[str, StreamMetrics] = {}
        self._attempt = attempt
        self._section = section
        self._clock = clock
        self._chance = chance or random.Random()  # noqa: S311 - no secret depends on it
        self._changed = threading.Event()
        self._is_stopping = False
        self._told: set[str] = set()
        self._stepped_at_s = clock.monotonic_s()

    @property
    def failures(self) -> dict[str, EdgeHaulError]:
        """Why streams failed for good, by stream."""
        return {
            name: keeper.failure
            for name, keeper in self.keepers.items()
            if keeper.state == "failed" and keeper.failure is not None
        }

    def keep(
        self,
        streams: Iterable[Stream],
        section: SupervisionSection,
        renewed: Collection[str] = (),
    ) -> list[str]:
        """Run these streams from now on: a changed one is stopped and started again.

        Args:
            streams: All that are to run.
            section: How patient to be.
            renewed: Names of those that start again although nothing is configured otherwise.

        Returns:
            Names of the streams that are started, stopped or started again.
        """
        self._section = section
        wanted = {stream.name: stream for stream in streams}
        touched = [n for n in self.keepers if n not in wanted]
        touched += [n for n, s in wanted.items() if n in renewed or not self._has(n, s)]
        kept = {}
        for name, keeper in self.keepers.items():
            if name in touched:
                keeper.stop()
                self._retired.append(keeper)
            else:
                keeper.section = section
                keeper.try_now()
                kept[name] = keeper
        self._next = {n: s for n, s in wanted.items() if n in touched or n in self._next}
        self.keepers = kept
        self._start_next()
        return touched

    def step(self) -> bool:
        """Look after all streams once.

        Returns:
            Whether there is news: a stream failed, or runs again after it did.

        Raises:
            SpoolError: Results can no longer be stored.
            DeviceError: So much was left behind that only a new process helps.
        """
        self._changed.clear()
        now_s = self._clock.monotonic_s()
        if now_s - self._stepped_at_s > _PAUSED_S:
            for keeper in (*self.keepers.values(), *self._retired):
                keeper.forgive()
        self._stepped_at_s = now_s
        # A list, so that all are looked after whatever the first ones tell.
        changes = [keeper.step() for keeper in (*self.keepers.values(), *self._retired)]
        self._retired = [k for k in self._retired if not k.is_over or k.lost()]
        self._tell_failures()
        self._start_next()
        lost = sum(len(k.lost()) for k in (*self.keepers.values(), *self._retired))
        if lost >= _MOST_LOST and not self._is_stopping:
            raise DeviceError(
                f"{lost} runs of streams hang and were left behind",
                remedy="the agent has to be started anew; see the log for what hangs",
            )
        return any(changes)

    @property
    def is_over(self) -> bool:
        """Whether no stream runs, or will."""
        keepers = (*self.keepers.values(), *self._retired)
        return not self._next and all(keeper.is_over for keeper in keepers)

    @property
    def left_behind(self) -> bool:
        """Whether threads hang of which nobody knows when they end."""
        return any(k.lost() for k in (*self.keepers.values(), *self._retired))

    @property
    def is_starting(self) -> bool:
        """Whether any stream is about to open."""
        return any(keeper.state == "starting" for keeper in self.keepers.values())

    @property
    def has_opened(self) -> bool:
        """Whether any stream has run."""
        return any(keeper.has_opened for keeper in self.keepers.values())

    def wait(self, timeout_s: float) -> None:
        """Return when a run has ended, or after ``timeout_s``."""
        self._changed.wait(timeout_s)

    def stop(self) -> None:
        """End all streams; call :meth:`step` until :attr:`is_over`."""
        self._is_stopping = True
        self._next = {}
        for keeper in self.keepers.values():
            keeper.stop()

    def _has(self, name: str, stream: Stream) -> bool:
        if name in self._next:
            return self._next[name] == stream
        return name in self.keepers and self.keepers[name].stream == stream

    def _tell_failures(self) -> None:
        """Log what failed for good; the failure of the only stream is the agent's own error."""
        for name, error in self.failures.items():
            if name not in self._told and len(self.keepers) > 1:
                self._told.add(name)
                _log.error("stream %s: %s", name, error)

    def _start_next(self) -> None:
        """Start what waits for the run before it to end: both would want the same camera."""
        busy = {keeper.name for keeper in self._retired if not keeper.is_over}
        ready = [stream for name, stream in self._next.items() if name not in busy]
        if not ready:
            return
        fresh = {stream.name: self._keeper(stream) for stream in ready}
        self._next = {n: s for n, s in self._next.items() if n not in fresh}
        self._told -= fresh.keys()
        self.keepers = self.keepers | fresh

    def _keeper(self, stream: Stream) -> Keeper:
        metrics = self._metrics.setdefault(stream.name, StreamMetrics(self._clock))
        return Keeper(
            stream,
            lambda keeper: self._attempt(keeper, self._changed.set),
            self._section,
            clock=self._clock,
            chance=self._chance,
            metrics=metrics,
        )
