"""The running agent: every stream on a thread, its results into the spool and to the broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

import msgspec

import edgehaul
from edgehaul.clock import Clock, SystemClock
from edgehaul.errors import DeviceError, EdgeHaulError, SpoolError, UsageError
from edgehaul.messages.payloads import HealthData, SpoolHealth, StateData, StreamHealth
from edgehaul_agent.assembly import Assembly, Pipeline
from edgehaul_agent.delivery.forwarder import Forwarder
from edgehaul_agent.delivery.spool import Spool
from edgehaul_agent.health.heartbeat import Heartbeat
from edgehaul_agent.health.probe import LinuxProbe
from edgehaul_agent.pipeline.workers import WorkerPool

_log = logging.getLogger(__name__)

_STOP_POLL_S = 0.2
_DRAIN_POLL_S = 0.5
_PROGRESS_PATIENCE_S = 8.0
"""Longest wait at the end for the next receipt: everything is sent again twice in it."""
_CONNECT_PATIENCE_S = 3.0
"""How long a device that has nothing more to do waits for a broker that is away."""


class StoppableClock(SystemClock):
    """The machine's clock, whose sleepers wake up when the agent stops."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds, or until the agent stops."""
        self._stop.wait(duration_s)


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


class Agent:
    """Runs everything that a device's configuration names.

    Args:
        assembly: Builds the pipelines.
        stop: Set to end the run; what was taken from the sources is processed and stored.
        drain_timeout_s: How long to wait at the end until everything is delivered.
    """

    def __init__(
        self, assembly: Assembly, stop: threading.Event, *, drain_timeout_s: float
    ) -> None:
        self._assembly = assembly
        self._stop = stop
        self._drain_timeout_s = drain_timeout_s
        self._clock: Clock = StoppableClock(stop)
        self._failures: dict[str, EdgeHaulError] = {}

    def run(self) -> RunReport:
        """Run until every source has ended or ``stop`` is set.

        A stream that cannot start or fails does not stop the others.

        Returns:
            How the run went; ``failures`` is not empty where only part of the streams ran.

        Raises:
            EdgeHaulError: No stream could run, or the spool failed.
        """
        config = self._assembly.config
        spool = Spool(self._assembly.spool_folder, config.spool, self._assembly.topics)
        workers = self._assembly.workers(self._clock)
        with ExitStack() as sources, workers:
            pipelines = self._open_pipelines(spool, workers, sources)
            with spool:
                forwarder = Forwarder(
                    spool, self._assembly.mqtt, self._assembly.topics, state=self._state
                )
                forwarder.start()
                delivered = False
                try:
                    self._run_pipelines(pipelines, spool)
                    spool.flush()
                    delivered = self._deliver(forwarder, spool)
                finally:
                    forwarder.stop()
                if len(self._failures) == len(list(self._assembly.streams())):
                    raise self._first_failure()
                return RunReport(
                    streams={p.name: p.metrics.total() for p in pipelines},
                    spool=spool.health(),
                    delivered=delivered,
                    stopped=self._stop.is_set(),
                    failures={name: str(error) for name, error in self._failures.items()},
                )

    def _open_pipelines(
        self, spool: Spool, workers: WorkerPool, sources: ExitStack
    ) -> list[Pipeline]:
        pipelines: list[Pipeline] = []
        for stream in self._assembly.streams():
            try:
                pipeline = self._assembly.pipeline(stream, spool, workers, self._clock)
                sources.enter_context(pipeline)
                pipelines.append(pipeline)
            except EdgeHaulError as error:
                self._fail(stream.name, error)
        if not pipelines:
            raise self._first_failure()
        return pipelines

    def _run_pipelines(self, pipelines: Sequence[Pipeline], spool: Spool) -> None:
        heartbeat = Heartbeat(
            lambda health: self._put_health(spool, health),
            streams={p.name: p.metrics for p in pipelines},
            spool=spool.health,
            probe=LinuxProbe(self._assembly.root),
            clock=self._clock,
            interval_s=self._assembly.config.health.interval_s,
        )
        with heartbeat, ThreadPoolExecutor(len(pipelines), "stream") as executor:
            running = {executor.submit(p.run, self._stop): p.name for p in pipelines}
            try:
                self._watch(running)
            finally:
                # On the way out by an error of our own the other streams end orderly too.
                if any(not future.done() for future in running):
                    self._stop.set()

    def _watch(self, running: dict[Future[None], str]) -> None:
        pending = set(running)
        while pending:
            done, pending = wait(pending, timeout=_STOP_POLL_S, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if isinstance(error, SpoolError) or not isinstance(error, EdgeHaulError | None):
                    raise error
                if error is not None:
                    self._fail(running[future], error)
                else:
                    _log.info("stream %s has ended", running[future])

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
            if forwarder.wait_delivered(min(_DRAIN_POLL_S, deadline_s - now_s)):
                return True
            now_s = self._clock.monotonic_s()
            left = spool.health().pending
            if left < pending:
                pending, progress_at_s = left, now_s
        return False

    def _put_health(self, spool: Spool, health: HealthData) -> None:
        topic = self._assembly.topics.health
        spool.put(health, topic=topic, lane="telemetry", captured_at_s=self._clock.now_s())

    def _state(self) -> StateData:
        return StateData(
            status="online",
            agent_version=edgehaul.__version__,
            models=self._assembly.used_models,
            streams=tuple(stream.name for stream in self._assembly.streams()),
        )

    def _fail(self, stream: str, error: EdgeHaulError) -> None:
        self._failures[stream] = error
        # The failure of the only stream is the run's own error, told once, at its end.
        if len(list(self._assembly.streams())) > 1:
            _log.error("stream %s: %s", stream, error)

    def _first_failure(self) -> EdgeHaulError:
        for error in self._failures.values():
            return error
        return UsageError(
            "the configuration names no stream", remedy="add one under streams or gps"
        )


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
