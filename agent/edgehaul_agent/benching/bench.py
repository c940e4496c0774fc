"""The whole benchmark: rounds of runs that take turns, each in a process of its own."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edgehaul.config.device import MqttSection
from edgehaul.errors import DeliveryError, DeviceError
from edgehaul.messages.topics import DeviceTopics
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.benching.job import Job, Kind, Limits, Measured
from edgehaul_agent.benching.report import AgentBench, Round, figures, stages_ms
from edgehaul_agent.benching.setting import WHO, Given, Setting, set_up
from edgehaul_agent.delivery.mqtt import check_broker
from edgehaul_agent.engines import EngineOpener
from edgehaul_agent.pipeline.workers import default_workers

_DRAIN_TIMEOUT_S = 15.0
_KINDS: tuple[Kind, ...] = ("ideal", "agent", "staged")
_WARM_UP_PART, _MOST_WARM_UP = 0.2, 20
"""Of the frames of each stream."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How to measure.

    Attributes:
        given: What to measure.
        broker: Host and port to publish to; none takes that of the configuration, if any.
        frames: Frames of each stream and run; 0 where the time is the limit.
        duration_s: Seconds of each run; 0 where the frames are.
        rate_fps: Frames a second that each stream offers; 0 for as fast as they are taken.
        rounds: Runs of each kind.
    """

    given: Given
    broker: tuple[str, int] | None = None
    frames: int = 0
    duration_s: float = 0.0
    rate_fps: float = 0.0
    rounds: int = 3

    @property
    def limits(self) -> Limits:
        """How long each run lasts."""
        wanted = self.frames or _MOST_WARM_UP / _WARM_UP_PART
        warm_up = min(_MOST_WARM_UP, int(wanted * _WARM_UP_PART))
        return Limits(
            frames=self.frames,
            duration_s=self.duration_s,
            warm_up_frames=warm_up * self.given.streams,
        )


def bench(plan: Plan, progress: Callable[[str], None] = lambda _line: None) -> AgentBench:
    """Measure the agent on this box.

    Args:
        plan: What and how.
        progress: Told what is done.

    Raises:
        EdgeHaulError: Model, source or broker cannot be used, or a run failed.
    """
    with tempfile.TemporaryDirectory(prefix="edgehaul-bench-") as name, _no_broker() as nobody:
        folder = Path(name)
        progress("preparing the model")
        setting = set_up(plan.given, folder / "root")
        mqtt, delivery = _broker(plan, setting, nobody)
        is_sent = mqtt.port != nobody
        config = msgspec.structs.replace(setting.config, mqtt=mqtt)
        rounds = []
        for number in range(plan.rounds):
            measured = {}
            for kind in _KINDS:
                progress(f"round {number + 1} of {plan.rounds}: {kind}")
                job = Job(
                    kind=kind,
                    config=config,
                    folder=str(setting.folder),
                    spool_folder=str(folder / f"spool-{number}-{kind}"),
                    limits=plan.limits,
                    rate_fps=0.0 if kind == "ideal" else plan.rate_fps,
                    drain_timeout_s=_DRAIN_TIMEOUT_S if is_sent else 0.0,
                )
                measured[kind] = _run(job)
            rounds.append(Round(**measured))
        if is_sent and not all(one.agent.delivered for one in rounds):
            delivery += ", which did not take all of it in time"
        return _report(plan, setting, delivery, rounds)


def _run(job: Job) -> Measured:
    """Run a job in a process of its own.

    Raises:
        DeviceError: It failed; its last line says why.
    """
    done = subprocess.run(
        [sys.executable, "-m", "edgehaul_agent.benching"],
        input=msgspec.json.encode(job),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit code {done.returncode}"
        raise DeviceError(
            f"the run of kind {job.kind!r} failed: {reason.removeprefix('bench: error: ')}",
            remedy="try the same with edgehaul-agent check and run",
        )
    return msgspec.json.decode(done.stdout, type=Measured)


@contextmanager
def _no_broker() -> Iterator[int]:
    """Yield a port of this machine where nobody will ever answer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def _broker(plan: Plan, setting: Setting, nobody: int) -> tuple[MqttSection, str]:
    """Return where results go, and how to tell it.

    Raises:
        DeliveryError: The broker that was asked for cannot be reached.
    """
    nowhere = MqttSection(port=nobody)
    if plan.broker is None and plan.given.config is None:
        return nowhere, "the spool alone, no broker was named"
    mqtt = Assembly(setting.config, setting.folder).mqtt
    if plan.broker is not None:
        host, port = plan.broker
        mqtt = msgspec.structs.replace(mqtt, host=host, port=port)
    try:
        protocol = check_broker(mqtt, DeviceTopics(WHO.site, WHO.id))
    except DeliveryError as error:
        if plan.broker is not None:
            raise
        return nowhere, f"the spool alone, {error.message}"
    return mqtt, f"spool and broker {mqtt.host}:{mqtt.port}, MQTT {protocol}"


def _report(plan: Plan, setting: Setting, delivery: str, rounds: list[Round]) -> AgentBench:
    config, installed = setting.config, setting.installed
    workers = config.workers or default_workers()
    runtime = EngineOpener(config.engine, Path(config.root), workers=workers).machine.runtime
    return AgentBench(
        model=f"{installed.name} {installed.manifest.version}",
        variant=plan.given.variant or installed.variant,
        runtime=runtime,
        source=setting.source,
        delivery=delivery,
        streams=plan.given.streams,
        workers=workers,
        rate_fps=plan.rate_fps,
        rounds=plan.rounds,
        frames=min(one.agent.total_frames for one in rounds),
        dropped_frames=max(one.agent.dropped for one in rounds),
        stages_ms_per_frame=stages_ms(rounds),
        load_average=os.getloadavg()[0],
        **figures(rounds),
    )
