"""Health messages, one each interval and one at the end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from edgehaul.clock import Clock
from edgehaul.errors import DeliveryError
from edgehaul.messages.payloads import HealthData, SpoolHealth
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.health.probe import Probe

_log = logging.getLogger(__name__)

Publish = Callable[[HealthData], None]


class Heartbeat:
    """Publishes how the device is doing while it is open.

    Args:
        publish: Takes the messages.
        streams: Counters by stream; may grow.
        spool: Tells the state of the spool.
        probe: Looks at the machine.
        clock: For uptime.
        interval_s: Time between two messages.
    """

    def __init__(
        self,
        publish: Publish,
        *,
        streams: Mapping[str, StreamMetrics],
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
        self._interval_s = interval_s
        self._started_s = self._last_s = clock.monotonic_s()
        self._last_cpu_s = probe.read().cpu_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat")

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
        self._stop.set()
        self._thread.join()

    def beat(self) -> None:
        """Publish one message."""
        now_s = self._clock.monotonic_s()
        reading = self._probe.read()
        elapsed_s = max(now_s - self._last_s, 1e-3)
        cpu_percent = 100 * (reading.cpu_s - self._last_cpu_s) / elapsed_s
        self._last_s, self._last_cpu_s = now_s, reading.cpu_s
        health = HealthData(
            uptime_s=round(now_s - self._started_s, 3),
            rss_mb=reading.rss_mb,
            cpu_percent=round(cpu_percent, 1),
            disk_free_mb=reading.disk_free_mb,
            temperature_c=reading.temperature_c,
            streams={name: metrics.take() for name, metrics in self._streams.items()},
            spool=self._spool(),
        )
        try:
            self._publish(health)
        except DeliveryError as error:
            _log.warning("health message not stored: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self.beat()
        self.beat()
