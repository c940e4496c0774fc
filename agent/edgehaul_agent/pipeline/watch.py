"""What a supervisor asks of a running pipeline."""

from __future__ import annotations

from typing import Protocol

from edgehaul.clock import Clock
from edgehaul_agent.pipeline.workers import Seat
from edgehaul_agent.progress import Progress

_AWAY = frozenset({"closed", "connecting", "waiting"})
"""States of a source that makes its connection by itself, in which no frame is expected."""


class Abandonable(Protocol):
    """What stands between a reader and the workers."""

    def give_up(self) -> None:
        """Let go of everybody who waits."""
        ...


class Watch:
    """Tells whether a pipeline moves on, and lets go of one that does not.

    Args:
        source: The source. One that connects by itself says in ``state`` what it is doing.
        clock: Measures.
        seat: The stream's place in the workers' line, where it has one.
        handover: What stands between the reader and the workers, where there is something.

    Attributes:
        reader: Of the thread that reads the source.
        has_failed: Whether a worker has failed on a frame. The reader learns of it with the next
            frame; until one comes it can be told to stop.
    """

    def __init__(
        self,
        source: object,
        clock: Clock,
        *,
        seat: Seat | None = None,
        handover: Abandonable | None = None,
    ) -> None:
        self.reader = Progress(clock)
        self.has_failed = False
        self._source = source
        self._seat = seat
        self._handover = handover
        self._passed_over: tuple[object, object] = (0, 0)

    def reader_stuck_s(self) -> float:
        """Return how long the source has given nothing although it is there, in seconds.

        Call it often: what the source passes over undecoded is noticed here.
        """
        passed_over = (getattr(self._source, "skipped", 0), getattr(self._source, "bad", 0))
        is_away = getattr(self._source, "state", "") in _AWAY
        if (is_away or passed_over != self._passed_over) and self.reader.stuck_s():
            self.reader.working()
        self._passed_over = passed_over
        return self.reader.stuck_s()

    def source_fault(self) -> str:
        """Return why the source is away; empty where it is there, or does not say."""
        is_away = getattr(self._source, "state", "") in _AWAY
        return str(getattr(self._source, "last_fault", "")) if is_away else ""

    def turn_stuck_s(self) -> float:
        """Return how long a worker has been busy with one frame of this stream, in seconds."""
        return self._seat.turn_s() if self._seat else 0.0

    def holds_worker(self) -> bool:
        """Return whether a worker thread that was given up is still busy with this stream."""
        return self._seat is not None and self._seat.holds_thread()

    def give_up(self) -> None:
        """Free the workers, and whoever waits for them: nothing of this pipeline is awaited."""
        if self._seat is not None:
            self._seat.give_up()
        if self._handover is not None:
            self._handover.give_up()
