"""What the agent asks of everything that gives it pictures or positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from edgehaul.clock import Clock
from edgehaul.errors import SourceError
from edgehaul.messages.health import SourceState
from edgehaul.values import Fix, Frame

Wants = Callable[[], bool]
"""Whether a frame that has come is to be made a picture; it may wait before it answers."""
_BLINK_S = 0.002


def always() -> bool:
    """Return True: every frame is wanted."""
    return True


_AWAY: frozenset[SourceState] = frozenset({"closed", "connecting", "frozen", "waiting"})


class Condition(msgspec.Struct, frozen=True):
    """How a source is.

    Attributes:
        state: What it is doing.
        last_fault: What was wrong with it the last time, without credentials; empty for nothing.
        reconnects: How often it has been tried to connect again.
    """

    state: SourceState
    last_fault: str = ""
    reconnects: int = 0

    @property
    def is_away(self) -> bool:
        """Whether nothing is expected of it: it makes its connection by itself."""
        return self.state in _AWAY


PLAYING = Condition("playing")
"""How a recording is while it is open."""


class FrameSource(Protocol):
    """A stream of pictures, opened by ``with``."""

    @property
    def bad(self) -> int:
        """Number of frames that could not be decoded; they are passed over."""
        ...

    @property
    def skipped(self) -> int:
        """Number of frames that were passed over undecoded: by stride, or because not wanted."""
        ...

    @property
    def strided(self) -> int:
        """Number of these that the stride has passed over."""
        ...

    def condition(self) -> Condition:
        """Return how it is; any thread may ask at any time."""
        ...

    def __enter__(self) -> Self:
        """Open the source.

        Raises:
            SourceError: It cannot be opened.
        """
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...

    def frames(self, wants: Wants = always) -> Iterator[Frame]:
        """Yield the frames until the source ends.

        The picture of a frame is its own until the next one is asked for: then its memory may be
        used again. Whoever keeps it longer copies it.

        Args:
            wants: Asked when a frame has come, before it is made a picture; a frame that it
                refuses is passed over. Live sources ask on a thread of their own.

        Raises:
            SourceError: The source fails for good.
        """
        ...


class FixSource(Protocol):
    """A stream of positions, opened by ``with``.

    Attributes:
        is_live: Whether the fixes are of now; a recording has its own times.
    """

    is_live: bool

    def condition(self) -> Condition:
        """Return how it is; any thread may ask at any time."""
        ...

    def __enter__(self) -> Self:
        """Open the source.

        Raises:
            DataError: It cannot be opened or read.
        """
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        ...

    def fixes(self) -> Iterator[Fix | None]:
        """Yield the fixes until the source ends.

        A live source yields None while it has none, several times a second, so that whoever
        reads can end.

        Raises:
            SourceError: The source fails for good.
        """
        ...

    def bad(self) -> int:
        """Rows or sentences so far that were no fix."""
        ...


@contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses about ``path`` into an error of this one source.

    Raises:
        SourceError: It refuses.
    """
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"cannot be read: {(error.strerror or str(error)).lower()}",
            where=path,
            remedy="correct the path of the source, or let the agent's user read it",
        ) from error


def live_clock(source: FixSource, clock: Clock) -> Clock | None:
    """Return the clock that the fixes' times can be held against; none for a recording."""
    return clock if source.is_live else None


def is_stopping(clock: Clock) -> bool:
    """Return whether the agent stops: then its clock no longer waits."""
    return not rested(clock, _BLINK_S)


def rested(clock: Clock, duration_s: float) -> bool:
    """Wait; return False where the clock did not wait for so long, since the agent stops."""
    started_s = clock.monotonic_s()
    clock.sleep(duration_s)
    return clock.monotonic_s() - started_s >= duration_s / 2


class Pacer:
    """Keeps a recording to its own pace.

    Args:
        clock: Tells the time and waits; one that stops waiting early ends the pacing too.
        realtime: Whether to wait at all.
    """

    def __init__(self, clock: Clock, *, realtime: bool) -> None:
        self._clock = clock
        self._realtime = realtime
        self._started_s = clock.monotonic_s()

    def wait_until(self, offset_s: float) -> None:
        """Return when ``offset_s`` seconds have passed since the start."""
        if not self._realtime:
            return
        left_s = self._started_s + offset_s - self._clock.monotonic_s()
        if left_s > 0:
            self._clock.sleep(left_s)


def recording_start_s(clock: Clock, *, duration_s: float, realtime: bool) -> float:
    """Return the capture time to give to the first frame of a recording.

    At its own pace a recording happens now. Faster than that, its end is taken to be now: no
    capture time lies in the future.
    """
    return clock.now_s() - (0.0 if realtime else duration_s)


def paced(fixes: tuple[Fix, ...], clock: Clock, *, realtime: bool) -> Iterator[Fix]:
    """Yield recorded fixes, at their own pace where asked."""
    pacer = Pacer(clock, realtime=realtime)
    for fix in fixes:
        pacer.wait_until(fix.captured_at_s - fixes[0].captured_at_s)
        yield fix
