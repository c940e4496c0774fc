"""What a supervisor asks of a running pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgehaul.clock import Clock
from edgehaul_agent.pipeline.workers import Seat
from edgehaul_agent.progress import Progress
from edgehaul_agent.sources.base import Condition


class Abandonable(Protocol):
    """What stands between a reader and the workers."""

    def give_up(self) -> None:
        """Let go of everybody who waits."""
        ...


class Watch:
    """Tells whether a pipeline moves on, and lets go of one that does not.

    Args:
        condition: Tells how the source is.
        clock: Measures.
        passed_over: Tells how many frames the source has passed over so far.
        seat: The stream's place in the workers' line, where it has one.
        handover: What stands between the reader and the workers, where there is something.

    Attributes:
        reader: Of the thread that reads the source.
        has_failed: Whether a worker has failed on a frame. The reader learns of it with the next
            frame; until one comes it can be told to stop.
        is_given_up: Whether another run may have taken this one's place already.
        condition: As given.
        frame_at_s: When the last frame or fix came, on the monotonic clock; none yet at first.
            Those passed over count, as often as :meth:`reader_stuck_s` is called.
    """

    def __init__(
        self,
        condition: Callable[[], Condition],
        clock: Clock,
        *,
        passed_over: Callable[[], int],
        seat: Seat | None = None,
        handover: Abandonable | None = None,
    ) -> None:
        self.reader = Progress(clock)
        self.has_failed = False
        self.is_given_up = False
        self.condition = condition
        self.frame_at_s: float | None = None
        self._clock = clock
        self._count_passed_over = passed_over
        self._seat = seat
        self._handover = handover
        self._passed_over = 0

    def came(self) -> None:
        """Note that the source has given a frame or fix."""
        self.frame_at_s = self._clock.monotonic_s()
        self.reader.working()

    def reader_stuck_s(self) -> float:
        """Return how long the source has given nothing although it is there, in seconds.

        Call it often: what the source passes over undecoded is noticed here.
        """
        passed_over = self._count_passed_over()
        has_moved = passed_over != self._passed_over
        self._passed_over = passed_over
        if has_moved:
            self.frame_at_s = self._clock.monotonic_s()
        if (has_moved or self.condition().is_away) and self.reader.stuck_s():
            self.reader.working()
        return self.reader.stuck_s()

    def turn_stuck_s(self) -> float:
        """Return how long a worker has been busy with one frame of this stream, in seconds."""
        return self._seat.turn_s() if self._seat else 0.0

    def holds_worker(self) -> bool:
        """Return whether a worker thread that was given up is still busy with this stream."""
        return self._seat is not None and self._seat.holds_thread()

    def give_up(self) -> None:
        """Free the workers, and whoever waits for them: nothing of this pipeline is awaited."""
        self.is_given_up = True
        if self._seat is not None:
            self._seat.give_up()
        if self._handover is not None:
            self._handover.give_up()
