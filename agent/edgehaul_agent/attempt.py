"""One run of a stream, on threads that can be left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from edgehaul.clock import Clock, SystemClock
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import Lane
from edgehaul_agent.outlet import Outbox
from edgehaul_agent.pipeline.watch import Watch
from edgehaul_agent.progress import Progress
from edgehaul_agent.restarts import StallError
from edgehaul_agent.sources.base import Condition


class StoppableClock(SystemClock):
    """The machine's clock, whose sleepers wake up when somebody stops.

    Args:
        stop: Wakes them.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds, or until the stop."""
        self._stop.wait(duration_s)


class Runnable(AbstractContextManager[object], Protocol):
    """What an attempt runs: a pipeline."""

    @property
    def watch(self) -> Watch:
        """Tells whether it moves on."""
        ...

    def run(self, stop: threading.Event) -> None:
        """Run until the source ends or ``stop`` is set."""
        ...


class Valve:
    """An outbox that can be shut: what a stream that was given up still says is not taken.

    Args:
        outbox: Takes the messages.
        clock: Measures how long it takes.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._is_shut = False
        self.waiting = Progress(clock)

    def put(
        self, payload: Payload, *, topic: str, lane: Lane, captured_at_s: float, subject: str = ""
    ) -> None:
        """Hand a message on.

        Raises:
            StallError: The stream was given up.
            SpoolError: The outbox cannot take it.
        """
        if self._is_shut:
            raise StallError("the stream was given up", where=topic)
        self.waiting.working()
        try:
            self._outbox.put(
                payload, topic=topic, lane=lane, captured_at_s=captured_at_s, subject=subject
            )
        finally:
            self.waiting.resting()

    def shut(self) -> None:
        """Take nothing more."""
        self._is_shut = True


Build = Callable[[Outbox, Clock], Runnable]


class Attempt:
    """Builds, opens and runs a stream once, on a daemon thread.

    Args:
        name: Name of the stream.
        build: Makes the pipeline.
        outbox: Takes its results.
        clock: Measures.
        changed: Called when it has opened, and when it has ended.
        stoppable: Makes the pipeline's clock, whose sleepers wake when the event is set.

    Attributes:
        error: Why it ended; none where the source ended, or the stream was stopped.
        has_opened: Whether the source and the model could be opened.
    """

    def __init__(
        self,
        name: str,
        build: Build,
        outbox: Outbox,
        *,
        clock: Clock,
        changed: Callable[[], None],
        stoppable: Callable[[threading.Event], Clock] = StoppableClock,
    ) -> None:
        self.error: Exception | None = None
        self.has_opened = False
        self.stop = threading.Event()
        self._build = build
        self._valve = Valve(outbox, clock)
        self._changed = changed
        self._stoppable = stoppable
        self._opening = Progress(clock)
        self._over = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"stream-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._opening.working()
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether it has ended by itself."""
        return self._over.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether it is lost, though its reader may not know yet."""
        return self._watch is not None and self._watch.has_failed

    def holds_threads(self) -> bool:
        """Return whether threads of an attempt that was given up are still there."""
        return self._thread.is_alive() or (self._watch is not None and self._watch.holds_worker())

    def opening_s(self) -> float:
        """Return how long the opening has been taking; 0 once it is open."""
        return self._opening.stuck_s()

    def reader_stuck_s(self) -> float:
        """Return how long a source that is there has given nothing."""
        if self._watch is None or self._waits_for_outbox():
            return 0.0
        return self._watch.reader_stuck_s()

    def condition(self) -> Condition | None:
        """Return how the source is; none while there is none yet."""
        return None if self._watch is None else self._watch.condition()

    def frame_at_s(self) -> float | None:
        """Return when its last frame or fix came, on the monotonic clock; none where none has."""
        return None if self._watch is None else self._watch.frame_at_s

    def silent_s(self) -> float:
        """Return how long nothing has come from the source, be it there or not."""
        return 0.0 if self._watch is None else self._watch.reader.stuck_s()

    def turn_stuck_s(self) -> float:
        """Return how long model and rules have been busy with one frame."""
        if self._watch is None or self._waits_for_outbox():
            return 0.0
        return self._watch.turn_stuck_s()

    def give_up(self) -> None:
        """Leave the threads behind; should they ever move on, they end without a word."""
        self.stop.set()
        self._valve.shut()
        if self._watch is not None:
            self._watch.give_up()

    def _waits_for_outbox(self) -> bool:
        """Return whether the disk is what is waited for, which a restart would not mend."""
        return self._valve.waiting.stuck_s() > 0

    def _run(self) -> None:
        try:
            self._run_pipeline()
        except Exception as error:  # noqa: BLE001 - the supervisor decides what becomes of it
            self.error = error
        finally:
            if self._watch is not None:
                self._watch.give_up()  # its place in the workers' line, which few may share
            self._opening.resting()
            self._over.set()
            self._changed()

    def _run_pipeline(self) -> None:
        """Run the pipeline, which nobody here holds any more when the next one is built."""
        pipeline = self._build(self._valve, self._stoppable(self.stop))
        self._watch = pipeline.watch
        with pipeline:
            self.has_opened = True
            self._changed()
            self._opening.resting()
            pipeline.run(self.stop)
