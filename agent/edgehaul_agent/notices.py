"""What the running agent tells about itself on its own machine."""

from __future__ import annotations

import logging
import os
from http import HTTPStatus

import edgehaul
from edgehaul.clock import Clock, format_utc
from edgehaul.messages.payloads import HealthData
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.delivery.forwarder import Forwarder
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.health import prometheus
from edgehaul_agent.health.probe import LinuxProbe
from edgehaul_agent.health.server import Page
from edgehaul_agent.health.status import (
    BrokerStatus,
    RunningStatus,
    process_start,
    write_status,
)
from edgehaul_agent.health.watchdog import Watchdog
from edgehaul_agent.supervisor import Supervisor

_log = logging.getLogger(__name__)


class Notices:
    """Writes the status file, and makes the pages and the line for systemd.

    Args:
        assembly: Names the device, its streams and its broker.
        supervisor: Knows the streams.
        spool: The open spool.
        forwarder: Knows the broker.
        clock: Tells the time.
    """

    def __init__(
        self,
        assembly: Assembly,
        supervisor: Supervisor,
        spool: Spool,
        forwarder: Forwarder,
        clock: Clock,
    ) -> None:
        self._assembly = assembly
        self._supervisor = supervisor
        self._spool = spool
        self._forwarder = forwarder
        self._clock = clock
        self._probe = LinuxProbe(assembly.root)
        self._started_at_s = clock.now_s()
        self._process_start = process_start(os.getpid())
        self._is_refused = False
        self._last: HealthData | None = None

    def finish(self) -> None:
        """Write that the agent has ended in good order."""
        if self._last is not None:
            self.write(self._last, stopped=True)

    def write(self, health: HealthData, *, stopped: bool = False) -> None:
        """Replace the status file; one that cannot be written is told once, and stops nothing."""
        self._last = health
        mqtt, now_s = self._assembly.config.mqtt, self._clock.now_s()
        status = RunningStatus(
            pid=os.getpid(),
            process_started=self._process_start,
            version=edgehaul.__version__,
            started_at=format_utc(self._started_at_s),
            written_at=format_utc(now_s),
            written_at_s=now_s,
            interval_s=self._assembly.config.health.interval_s,
            health=health,
            broker=BrokerStatus(
                address=f"{mqtt.host}:{mqtt.port}",
                connected=self._forwarder.connected,
                fault=self._forwarder.obstacle,
            ),
            models=self._assembly.used_models,
            stopped=stopped,
        )
        try:
            write_status(self._assembly.root, status)
            self._is_refused = False
        except OSError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.warning("the status cannot be written: %s", error)

    def line(self) -> str:
        """Return in one line how the streams and the broker are."""
        keepers = self._supervisor.keepers
        running = sum(keeper.state == "running" for keeper in keepers.values())
        parts = [f"{running} of {len(keepers)} streams run"]
        parts += [
            f"{name}: {keeper.failure}"
            for name, keeper in keepers.items()
            if keeper.failure is not None and keeper.state in {"waiting", "failed"}
        ]
        parts.append("broker connected" if self._forwarder.connected else "no broker")
        return "; ".join(parts)

    def metrics(self) -> Page:
        """Return the page for Prometheus."""
        vitals = prometheus.Vitals(
            version=edgehaul.__version__,
            read_at_s=self._clock.now_s(),
            started_at_s=self._started_at_s,
            machine=self._probe.read(),
            streams={
                name: prometheus.StreamVitals(keeper.total(), keeper.histogram())
                for name, keeper in self._supervisor.keepers.items()
            },
            spool=self._spool.health(),
            connected=self._forwarder.connected,
        )
        return Page(prometheus.page(vitals).encode(), prometheus.CONTENT_TYPE)


def healthz(watchdog: Watchdog) -> Page:
    """Return 200 where all loops of the agent move on, and 503 with what does not."""
    faults = watchdog.faults()
    if not faults:
        return Page(b"ok\n")
    return Page(
        "".join(f"{fault}\n" for fault in faults).encode(), status=HTTPStatus.SERVICE_UNAVAILABLE
    )
