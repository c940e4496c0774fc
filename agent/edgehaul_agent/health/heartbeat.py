"""Health messages, one each interval and one at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from edgehaul.clock import Clock
from edgehaul.errors import DeliveryError
from edgehaul.messages.health import SpoolHealth, StreamHealth
from edgehaul.messages.payloads import HealthData
from edgehaul_agent.health.probe import Probe
from edgehaul_agent.progress import Progress

_log = logging.getLogger(__name__)

Publish = Callable[[HealthData], None]


class Counted(Protocol):
    """What tells how a stream is doing."""

    def take(self) -> StreamHealth:
        """Return how it is, with rate and latencies since the last call."""
        ...


class Heartbeat:
    """Publishes how the device is doing while it is open.

    Args:
        publish: Takes the messages.
        streams: Tells of each stream; asked each time, since they come and go.
        spool: Tells the state of the spool.
        probe: Looks at the machine.
        clock: For uptime.
        interval_s: Time between two messages.

    Attributes:
        interval_s: May be set while it is open.
        progress: Of its thread.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        streams: Callable[[], Mapping[str, Counted]],
        spool: Callable[[], SpoolHealth],
        probe: Probe,
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._publish = publish
        self._streams = streams
        self._spool = spool
        self._probe = probe
        self._clock = clock
        self.interval_s = interval_s
        self.progress = Progress(clock)
        self._started_s = self._last_s = clock.monotonic_s()
        self._last_cpu_s = probe.read().cpu_s
        self._is_over = False
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish once more, and stop."""
        self._is_over = True
        self._wake.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether it beats, or has ended in good order."""
        return self._is_over or self._thread.is_alive()

    def nudge(self) -> None:
        """Let the next message come now: something has changed that cannot wait."""
        self._wake.set()

    def beat(self) -> None:
        """Publish one message."""
        try:
            self._publish(self.read())
        except DeliveryError as error:
            _log.warning("health message not stored: %s", error)

    def read(self) -> HealthData:
        """Return how the device is doing since the last look."""
        with self._lock:
            now_s = self._clock.monotonic_s()
            reading = self._probe.read()
            elapsed_s = max(now_s - self._last_s, 1e-3)
            cpu_percent = 100 * (reading.cpu_s - self._last_cpu_s) / elapsed_s
            self._last_s, self._last_cpu_s = now_s, reading.cpu_s
        return HealthData(
            uptime_s=round(now_s - self._started_s, 3),
            rss_mb=reading.rss_mb,
            cpu_percent=round(cpu_percent, 1),
            disk_free_mb=reading.disk_free_mb,
            temperature_c=reading.temperature_c,
            streams={name: stream.take() for name, stream in self._streams().items()},
            spool=self._spool(),
        )

    def _run(self) -> None:
        while not self._is_over:
            self._wake.wait(self.interval_s)
            self._wake.clear()
            self.progress.working()
            self.beat()
            self.progress.resting()
