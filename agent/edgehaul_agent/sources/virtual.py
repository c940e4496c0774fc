"""The rendered conveyor and the simulated truck, for everyone without hardware."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from edgehaul.clock import Clock
from edgehaul.config.recordings import VirtualConveyorSource, VirtualTruckSource
from edgehaul.values import Fix, Frame
from edgehaul.virtual.conveyor import Conveyor
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.sources.base import PLAYING, Condition, Pacer, always, paced, recording_start_s


class VirtualCamera:
    """A camera above a rendered conveyor.

    Args:
        config: The scene.
        stream: Name of the stream, for the frames.
        clock: Gives capture times and the pace.
        stride: Render every n-th frame only.
    """

    def __init__(
        self, config: VirtualConveyorSource, *, stream: str, clock: Clock, stride: int = 1
    ) -> None:
        self.bad = 0
        self.skipped = self.strided = 0
        self._config = config
        self._stream = stream
        self._clock = clock
        self._stride = stride
        self._conveyor = Conveyor(
            seed=config.seed, width=config.width, height=config.height, fps=config.fps
        )

    def __enter__(self) -> Self:
        """Return itself: there is nothing to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: there is nothing to close."""

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield the frames."""
        config = self._config
        start_s = recording_start_s(
            self._clock, duration_s=config.frames / config.fps, realtime=config.realtime
        )
        pacer = Pacer(self._clock, realtime=config.realtime)
        for index in range(config.frames) if config.frames else itertools.count():
            pacer.wait_until(index / config.fps)
            is_strided = index % self._stride != 0
            if is_strided or not wants():
                self.skipped += 1
                self.strided += is_strided
                continue
            image = self._conveyor.frame(index).image
            yield Frame(self._stream, index, start_s + index / config.fps, image)


class VirtualReceiver:
    """A receiver in a simulated truck.

    Args:
        config: The trip.
        clock: Gives the pace; the trip has its own times.
    """

    is_live = False

    def __init__(self, config: VirtualTruckSource, *, clock: Clock) -> None:
        self._trip = TruckTrip(seed=config.seed, duration_s=config.duration_s)
        self._realtime = config.realtime
        self._clock = clock

    def __enter__(self) -> Self:
        """Return itself: there is nothing to open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: there is nothing to close."""

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def fixes(self) -> Iterator[Fix]:
        """Yield the fixes."""
        yield from paced(self._trip.fixes, self._clock, realtime=self._realtime)

    def bad(self) -> int:
        """Return 0: it makes no mistakes."""
        return 0
