"""The running agent: every stream on a thread, its results into the spool and to the broker."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import msgspec

import edgehaul
from edgehaul.clock import Clock
from edgehaul.errors import DeviceError, EdgeHaulError, ModelError, SpoolError, UsageError
from edgehaul.messages.health import SpoolHealth, StreamHealth
from edgehaul.messages.payloads import HealthData, StateData
from edgehaul_agent.assembly import Assembly, Pipeline
from edgehaul_agent.attempt import Attempt, StoppableClock
from edgehaul_agent.delivery.forwarder import Forwarder
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.health.heartbeat import Heartbeat
from edgehaul_agent.health.probe import LinuxProbe
from edgehaul_agent.health.server import PageServer
from edgehaul_agent.health.systemd import Systemd
from edgehaul_agent.health.watchdog import Loop, Watchdog, moves_on
from edgehaul_agent.keeper import Keeper
from edgehaul_agent.notices import Notices, healthz
from edgehaul_agent.outlet import Outbox
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from edgehaul_agent.preview import Preview
from edgehaul_agent.reload import Reloader, change
from edgehaul_agent.restarts import StallError
from edgehaul_agent.supervisor import Supervisor

_log = logging.getLogger(__name__)

_STEP_S = 0.2
"""Longest pause between two looks at all streams."""
_OPENING_S = 2.0
"""How long the broker waits for the streams to open."""
_DISK_LIMIT_S = 120.0
"""A commit that takes longer never ends: worn cards stand still for half a minute."""
_NETWORK_LIMIT_S = 180.0
"""An attempt to connect that takes longer never ends: resolvers take a minute to give up."""
_DRAIN_POLL_S = 0.5
_PROGRESS_PATIENCE_S = 8.0
"""Longest wait at the end for the next receipt: everything is sent again twice in it."""
_CONNECT_PATIENCE_S = 3.0
"""How long a device that has nothing more to do waits for a broker that is away."""


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went.

    Attributes:
        streams: Counters, rate and latencies by stream, since start.
        spool: State of the spool at the end.
        delivered: Whether every message was acknowledged.
        stopped: Whether somebody asked the agent to stop.
        failures: What stopped single streams, by stream.
    """

    streams: dict[str, StreamHealth]
    spool: SpoolHealth
    delivered: bool
    stopped: bool
    failures: dict[str, str]


class Parts(NamedTuple):
    """What an agent consists of while it runs."""

    spool: Spool
    workers: WorkerPool
    supervisor: Supervisor
    forwarder: Forwarder
    notices: Notices


class Agent:
    """Runs everything that a device's configuration names.

    Args:
        assembly: Builds the pipelines.
        stop: Set to end the run; what was taken from the sources is processed and stored.
        drain_timeout_s: How long to wait at the end until everything is delivered.
        reloader: Reads the configuration again when somebody asks for it.
        systemd: Is told how the agent is doing.

    Attributes:
        left_behind: Whether threads hang that nobody can end.
    """

    def __init__(
        self,
        assembly: Assembly,
        stop: threading.Event,
        *,
        drain_timeout_s: float,
        reloader: Reloader | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self.left_behind = False
        self._assembly = assembly
        self._stop = stop
        self._drain_timeout_s = drain_timeout_s
        self._reloader = reloader
        self._systemd = systemd or Systemd({})
        self._clock: Clock = StoppableClock(stop)
        self._watchdog = Watchdog(self._systemd, [], self._clock)
        self._preview: Preview | None = None

    def run(self) -> RunReport:
        """Run until every source has ended or ``stop`` is set.

        A stream that cannot start or fails does not stop the others; a live one is tried again.

        Returns:
            How the run went; ``failures`` is not empty where only part of the streams ran.

        Raises:
            EdgeHaulError: No stream could run, or the spool failed.
        """
        config = self._assembly.config
        if not (config.streams or config.gps):
            raise UsageError(
                "the configuration names no stream", remedy="add one under streams or gps"
            )
        with (
            self._assembly.spool() as spool,
            self._assembly.album,
            self._assembly.films,
            self._assembly.workers(self._clock) as workers,
        ):
            supervisor = Supervisor(
                partial(self._attempt, spool, workers), config.supervision, clock=self._clock
            )
            forwarder = Forwarder(
                spool, self._assembly.mqtt, self._assembly.topics, state=self._state
            )
            notices = Notices(self._assembly, supervisor, spool, forwarder, self._clock)
            forwarder.check_files()
            try:
                self._run_streams(Parts(spool, workers, supervisor, forwarder, notices))
                failures = supervisor.failures
                if len(failures) == len(supervisor.keepers) and not supervisor.has_opened:
                    raise next(iter(failures.values()))
                spool.flush()
                delivered = self._deliver(forwarder, spool)
            finally:
                forwarder.stop()
                self.left_behind = supervisor.left_behind
            if len(failures) == len(supervisor.keepers):
                raise next(iter(failures.values()))
            return RunReport(
                streams={name: keeper.total() for name, keeper in supervisor.keepers.items()},
                spool=spool.health(),
                delivered=delivered,
                stopped=self._stop.is_set(),
                failures={name: str(error) for name, error in failures.items()},
            )

    def _attempt(
        self, spool: Spool, workers: WorkerPool, keeper: Keeper, changed: Callable[[], None]
    ) -> Attempt:
        stream = keeper.stream
        if isinstance(keeper.failure, ModelError | StallError):
            self._assembly.forget(stream)

        def build(outbox: Outbox, clock: Clock) -> Pipeline:
            if keeper.metrics.runs:
                # The run before refers to itself; its model and pictures shall not wait for room.
                gc.collect()
            pipeline = self._assembly.pipeline(stream, outbox, workers, clock, keeper.metrics)
            if self._preview is not None and isinstance(pipeline, StreamPipeline):
                pipeline.viewfinder = self._preview.viewfinder(stream.name)
            return pipeline

        return Attempt(stream.name, build, spool, clock=self._clock, changed=changed)

    def _run_streams(self, parts: Parts) -> None:
        notices, supervisor = parts.notices, parts.supervisor
        heartbeat = Heartbeat(
            partial(self._put_health, parts),
            streams=lambda: supervisor.keepers,
            spool=parts.spool.health,
            probe=LinuxProbe(self._assembly.root),
            clock=self._clock,
            interval_s=self._assembly.config.health.interval_s,
        )
        self._watchdog = Watchdog(self._systemd, _loops(parts, heartbeat), self._clock)
        supervisor.keep(self._assembly.streams(), self._assembly.config.supervision)
        with heartbeat, self._pages(notices):
            try:
                self._open(supervisor)
                if not supervisor.is_over or supervisor.has_opened:
                    parts.forwarder.start()
                notices.write(heartbeat.read())
                self._systemd.ready()
                self._supervise(supervisor, heartbeat, notices)
            finally:
                # On the way out by an error of our own the streams end orderly too.
                self._systemd.stopping()
                self._wind_up(supervisor)
        notices.finish()

    def _open(self, supervisor: Supervisor) -> None:
        """Wait a moment: where nothing can run at all, nothing else is worth telling."""
        until_s = self._clock.monotonic_s() + _OPENING_S
        supervisor.step()
        while supervisor.is_starting and self._clock.monotonic_s() < until_s:
            supervisor.wait(_STEP_S)
            supervisor.step()

    def _supervise(self, supervisor: Supervisor, heartbeat: Heartbeat, notices: Notices) -> None:
        told = ""
        while not (supervisor.is_over or self._stop.is_set()):
            if self._reloader is not None and self._reloader.requested.is_set():
                self._reload(self._reloader, supervisor, heartbeat)
            if supervisor.step():
                heartbeat.nudge()
            self._watchdog.step()
            if (line := notices.line()) != told:
                told = line
                self._systemd.status(line)
            supervisor.wait(_STEP_S)

    def _reload(self, reloader: Reloader, supervisor: Supervisor, heartbeat: Heartbeat) -> None:
        """Take over what has changed in the configuration; a fault in it changes nothing."""
        reloader.requested.clear()
        self._systemd.reloading()
        try:
            config, deferred = change(self._assembly.config, reloader.read())
        except EdgeHaulError as error:
            _log.error("the configuration has not been taken over: %s", error)
        else:
            self._assembly.adopt(config)
            heartbeat.interval_s = config.health.interval_s
            renewed = self._assembly.outdated()
            touched = supervisor.keep(self._assembly.streams(), config.supervision, renewed)
            names = ", ".join(touched) or "none"
            _log.warning("the configuration has been read again; streams that change: %s", names)
            for name in deferred:
                _log.warning(
                    "the change of section %s takes effect only when the agent is started anew",
                    name,
                )
            heartbeat.nudge()
        self._systemd.ready()

    def _wind_up(self, supervisor: Supervisor) -> None:
        """End all streams. One that hangs is left behind after some seconds."""
        if not supervisor.is_over:
            self._stop.set()
        supervisor.stop()
        while not supervisor.is_over:
            with suppress(SpoolError):  # it has been raised already, or will be by the flush
                supervisor.step()
            self._watchdog.step()
            supervisor.wait(_STEP_S)

    @contextmanager
    def _pages(self, notices: Notices) -> Iterator[None]:
        """Serve what is configured to be; a port that is taken stops no stream."""
        metrics, preview = self._assembly.config.metrics, self._assembly.config.preview
        pages = {"/metrics": notices.metrics, "/healthz": lambda: healthz(self._watchdog)}
        with ExitStack() as stack:
            try:
                if metrics.port:
                    stack.enter_context(PageServer(metrics.host, metrics.port, pages))
            except DeviceError as error:
                _log.error("there will be no metrics: %s", error)
            try:
                if preview.port:
                    self._preview = Preview(
                        preview, lambda: self._assembly.config.streams, self._clock
                    )
                    stack.enter_context(self._preview)
            except DeviceError as error:
                _log.error("there will be no preview: %s", error)
            yield

    def _deliver(self, forwarder: Forwarder, spool: Spool) -> bool:
        """Wait for the delivery of what is stored; it is kept for the next start otherwise."""
        patience_s = min(self._drain_timeout_s, _CONNECT_PATIENCE_S)
        delivered = forwarder.wait_connected(patience_s) and self._drain(forwarder, spool)
        if not delivered:
            _log.warning(
                "%d messages are not delivered yet; they are kept in %s for the next start",
                spool.health().pending,
                self._assembly.spool_folder,
            )
        return delivered

    def _drain(self, forwarder: Forwarder, spool: Spool) -> bool:
        """Wait while messages are acknowledged; a collector that is away is not waited for.

        Whoever asks the agent to stop only now has the last word: all is in the spool.
        """
        was_stopping = self._stop.is_set()
        if forwarder.wait_delivered(0):
            return True
        now_s = progress_at_s = self._clock.monotonic_s()
        deadline_s = now_s + self._drain_timeout_s
        pending = spool.health().pending
        while now_s < deadline_s and now_s - progress_at_s < _PROGRESS_PATIENCE_S:
            if self._stop.is_set() and not was_stopping:
                break
            self._watchdog.step()
            if forwarder.wait_delivered(min(_DRAIN_POLL_S, deadline_s - now_s)):
                return True
            now_s = self._clock.monotonic_s()
            left = spool.health().pending
            if left < pending:
                pending, progress_at_s = left, now_s
        return False

    def _put_health(self, parts: Parts, health: HealthData) -> None:
        parts.notices.write(health)
        topic = self._assembly.topics.health
        parts.spool.put(health, topic=topic, lane="telemetry", captured_at_s=self._clock.now_s())

    def _state(self) -> StateData:
        return StateData(
            status="online",
            agent_version=edgehaul.__version__,
            models=self._assembly.used_models,
            streams=tuple(stream.name for stream in self._assembly.streams()),
        )


def _loops(parts: Parts, heartbeat: Heartbeat) -> list[Loop]:
    """Return what the watchdog watches, besides the loop that feeds it."""
    spool, workers, forwarder = parts.spool, parts.workers, parts.forwarder
    return [
        Loop("spool", moves_on(spool.progress.stuck_s, _DISK_LIMIT_S)),
        Loop("forwarder", moves_on(forwarder.progress.stuck_s, _NETWORK_LIMIT_S)),
        Loop("forwarder's thread", lambda: "" if forwarder.is_alive else "has ended"),
        Loop("heartbeat", moves_on(heartbeat.progress.stuck_s, _DISK_LIMIT_S)),
        Loop("heartbeat's thread", lambda: "" if heartbeat.is_alive else "has ended"),
        Loop("workers", lambda: "" if workers.is_whole() else "a thread has ended"),
    ]


def raise_for_failures(report: RunReport) -> None:
    """Turn a run of which only a part worked into an error.

    Raises:
        DeviceError: A stream failed while others ran.
    """
    for stream, reason in report.failures.items():
        total = len(report.failures.keys() | report.streams.keys())
        raise DeviceError(
            f"{len(report.failures)} of {total} streams failed, the first one with: {reason}",
            where=f"stream {stream}",
        )
