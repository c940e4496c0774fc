"""What every measured run has: sources that end in time, and a spool that tells how late it is.

Beside what it stands for, each costs a microsecond or two a frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from edgehaul.clock import Clock
from edgehaul.config.device import SpoolSection
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import DetectionsData, Lane
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Frame
from edgehaul_agent.benching.gauge import Gauge
from edgehaul_agent.benching.wrapped import WrappedSource
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.sources.base import FrameSource, Pacer, always


class _EnoughError(Exception):
    """The source has given all that is wanted of it."""


class MeteredSource(WrappedSource):
    """A source that ends when the gauge says so, and keeps a pace.

    Args:
        source: Gives the frames.
        stream: Name of the stream.
        gauge: Counts them.
        clock: Gives the pace.
        rate_fps: Frames a second that it offers; 0 for as many as are taken.
    """

    def __init__(
        self, source: FrameSource, *, stream: str, gauge: Gauge, clock: Clock, rate_fps: float
    ) -> None:
        super().__init__(source)
        self._stream = stream
        self._gauge = gauge
        self._clock = clock
        self._rate_fps = rate_fps

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield frames until it is enough.

        A frame is captured when it is due, where there is a pace, and else when it is taken.
        """
        offered, captured_s = 0, 0.0
        pacer = Pacer(self._clock, realtime=self._rate_fps > 0)

        def wanted() -> bool:
            nonlocal offered, captured_s
            if self._rate_fps:
                pacer.wait_until(offered / self._rate_fps)
            if not self._gauge.begin(offered):
                raise _EnoughError
            offered += 1
            captured_s = self._clock.monotonic_s()
            answer = wants()
            if not self._rate_fps:
                captured_s = self._clock.monotonic_s()
            return answer

        try:
            for frame in self._source.frames(wanted):
                self._gauge.take(self._stream, frame.captured_at_s, captured_s)
                yield frame
        except _EnoughError:
            return


class MeteredSpool(Spool):
    """The spool, which tells when each frame's result has come onto the disk.

    Args:
        folder: Where the file lies.
        config: Quotas and grouping.
        topics: The device's topics.
        gauge: Is told.
    """

    def __init__(
        self, folder: str, config: SpoolSection, topics: DeviceTopics, gauge: Gauge
    ) -> None:
        super().__init__(Path(folder), config, topics)
        self._gauge = gauge
        self._awaited: deque[float | None] = deque()
        self._told = 0

    def __enter__(self) -> Self:
        """Open it."""
        super().__enter__()
        self._told = self.last_sequence
        self.listen(self._committed)
        return self

    def put(
        self,
        payload: Payload,
        *,
        topic: str,
        lane: Lane,
        captured_at_s: float,
        subject: str = "",
    ) -> None:
        """Queue a message."""
        is_frame = isinstance(payload, DetectionsData)
        self._awaited.append(self._gauge.finish(subject, captured_at_s) if is_frame else None)
        super().put(payload, topic=topic, lane=lane, captured_at_s=captured_at_s, subject=subject)

    def _committed(self) -> None:
        """Take what was put first: two that come at the same moment may be taken for each other."""
        last = self.last_sequence
        for _ in range(min(last - self._told, len(self._awaited))):
            if (taken_at_s := self._awaited.popleft()) is not None:
                self._gauge.durable(taken_at_s)
        self._told = last
