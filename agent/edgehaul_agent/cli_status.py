"""``edgehaul-agent status``: the installed models, and how the agent is doing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehaul.clock import Clock
from edgehaul.errors import EXIT_OK, DeviceError, EdgeHaulError
from edgehaul.messages.health import StreamHealth
from edgehaul.messages.payloads import ModelState
from edgehaul_agent.health.status import Life, RunningStatus, read_status
from edgehaul_agent.update.slots import InstalledModel, ModelStore
from edgehaul_agent.update.tuning import Tuning, VariantTiming

_LIVES = {
    "running": "running",
    "stopped": "stopped",
    "stale": "the process is there, but has told nothing for too long",
    "dead": "the process has ended without telling so",
}


class InstalledReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``install`` did, and one model of ``status``.

    Attributes:
        name: Name of the model.
        version: Its version.
        variant: The variant chosen for this box.
        folder: Where its files lie.
        previous_version: Version in the other slot; empty for none.
        tuning: What was timed when the variant was chosen; none where nothing was.
        fault: What is wrong with it; empty for nothing.
    """

    name: str
    version: str = ""
    variant: str = ""
    folder: str = ""
    previous_version: str = ""
    tuning: Tuning | None = None
    fault: str = ""


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """The agent as it has told last.

    Attributes:
        life: Whether it is running still.
        age_s: How long ago it told that, in seconds.
        status: What it told.
        fault: What is wrong with what it told; empty for nothing.
    """

    life: Life
    age_s: float
    status: RunningStatus | None = None
    fault: str = ""


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """What ``status`` tells.

    Attributes:
        models: The installed models.
        agent: The agent; none where none has run here.
    """

    models: tuple[InstalledReport, ...]
    agent: AgentReport | None


def installed_report(installed: InstalledModel, previous_version: str = "") -> InstalledReport:
    """Return what is told of an installed model."""
    return InstalledReport(
        name=installed.name,
        version=installed.manifest.version,
        variant=installed.variant,
        folder=str(installed.folder),
        previous_version=previous_version,
        tuning=installed.tuning,
    )


def look(root: Path, clock: Clock) -> StatusReport:
    """Return what is below a device's root."""
    store = ModelStore(root)
    models = tuple(_model_report(store, name) for name in store.names())
    return StatusReport(models=models, agent=_agent_report(root, clock))


def tell(report: StatusReport, root: Path) -> None:
    """Print it for people."""
    _tell_models(report.models, root)
    if report.agent is not None:
        _tell_agent(report.agent)


def exit_code(report: StatusReport) -> int:
    """Return 5 where something is wrong."""
    lives = {None, "running", "stopped"}
    is_well = (report.agent.life if report.agent else None) in lives
    has_faults = any(model.fault for model in report.models)
    return EXIT_OK if is_well and not has_faults else DeviceError.exit_code


def _model_report(store: ModelStore, name: str) -> InstalledReport:
    try:
        state, installed = store.state(name), store.active(name)
    except EdgeHaulError as error:
        return InstalledReport(name=name, fault=str(error))
    return installed_report(installed, state.previous_version if state else "")


def _agent_report(root: Path, clock: Clock) -> AgentReport | None:
    try:
        status = read_status(root)
    except DeviceError as error:
        return AgentReport(life="stale", age_s=0.0, fault=str(error))
    if status is None:
        return None
    now_s = clock.now_s()
    age_s = round(max(0.0, now_s - status.written_at_s), 1)
    return AgentReport(life=status.life(now_s), age_s=age_s, status=status)


def _tell_models(reports: Sequence[InstalledReport], root: Path) -> None:
    if not reports:
        print(f"no model is installed below {root}")
    for report in reports:
        before = f" (before: {report.previous_version})" if report.previous_version else ""
        text = report.fault or f"{report.version}, variant {report.variant}{before}"
        print(f"{report.name}: {text}")
        tell_tuning(report)


def tell_tuning(report: InstalledReport) -> None:
    """Print the timings of a model's variants for people."""
    tuning = report.tuning
    if tuning is None:
        return
    plan = f"{tuning.workers} worker{'s' if tuning.workers > 1 else ''}"
    providers = f" ({', '.join(tuning.providers)})" if tuning.providers else ""
    print(f"  timed with {tuning.runtime}{providers}, {plan}, on {tuning.cpu}")
    for timing in tuning.variants:
        print(f"  {'*' if timing.variant == report.variant else ' '} {_timing_line(timing)}")


def _timing_line(timing: VariantTiming) -> str:
    if timing.fault:
        return f"{timing.variant}: not usable: {timing.fault}"
    alone = ", ".join(
        f"{time_ms:.2f} ms with {threads} thread{'s' if threads > 1 else ''}"
        for threads, time_ms in timing.single_ms.items()
    )
    return f"{timing.variant}: {timing.shared_ms:.2f} ms a frame at full load; alone {alone}"


def _model_line(model: ModelState) -> str:
    graph = ", optimised graph" if model.optimised else ""
    where = ", ".join(model.providers) or "?"
    return f"{model.version}, variant {model.variant}, by {model.runtime} on {where}{graph}"


def _tell_agent(report: AgentReport) -> None:
    status = report.status
    if status is None:
        print(f"agent: {report.fault}")
        return
    print(
        f"agent: {_LIVES[report.life]} (process {status.pid}, started {status.started_at}); "
        f"as of {report.age_s:g} s ago:"
    )
    for name, stream in status.health.streams.items():
        print(f"  stream {name}: {_stream_line(stream)}")
    for model in status.models:
        print(f"  model {model.name}: {_model_line(model)}")
    spool, broker = status.health.spool, status.broker
    print(
        f"  spool: {spool.pending} of {spool.produced} messages pending, "
        f"{spool.declared_lost} declared lost"
    )
    link = "connected" if broker.connected else f"not connected; {broker.fault}".rstrip("; ")
    print(f"  broker {broker.address}: {link}")


def _stream_line(stream: StreamHealth) -> str:
    parts = [
        stream.state,
        f"{stream.fps:.1f} a second of {stream.fps_in:.1f}",
        f"latency {stream.latency_p50_ms:.1f} ms (99 %: {stream.latency_p99_ms:.1f} ms)",
        f"{stream.restarts} restarts",
    ]
    parts += _source_parts(stream)
    fault = stream.fault or stream.source.last_fault
    return ", ".join(parts) + (f"; last fault: {fault}" if fault else "")


def _source_parts(stream: StreamHealth) -> list[str]:
    source = stream.source
    parts = []
    if source.state:
        tries = f" ({source.reconnects} reconnects)" if source.reconnects else ""
        parts.append(f"source {source.state}{tries}")
    if source.frame_age_s is not None:
        parts.append(f"last frame {source.frame_age_s:.1f} s ago")
    if stream.dropped_by:
        lost = ", ".join(f"{reason} {count}" for reason, count in stream.dropped_by.items())
        parts.append(f"not looked at: {lost}")
    return parts
