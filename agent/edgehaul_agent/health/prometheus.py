"""The agent's counters as a page for Prometheus (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

import msgspec

from edgehaul.messages.health import SourceState, SpoolHealth, StreamHealth
from edgehaul_agent.health.metrics import LATENCY_BOUNDS_MS, LatencyHistogram
from edgehaul_agent.health.probe import MachineReading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MIB = 1024 * 1024

Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, float]]
Kind = Literal["counter", "gauge"]


class StreamVitals(msgspec.Struct, frozen=True):
    """One stream since start."""

    health: StreamHealth
    latencies: LatencyHistogram


class Vitals(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows.

    Attributes:
        version: Version of the agent.
        started_at_s: When it started, in seconds since 1970.
        read_at_s: When the page was asked for, in seconds since 1970.
        machine: Memory, processor time, disk, temperature.
        streams: By name.
        spool: The spool.
        connected: Whether the broker is there.
    """

    version: str
    started_at_s: float
    read_at_s: float
    machine: MachineReading
    streams: Mapping[str, StreamVitals]
    spool: SpoolHealth
    connected: bool


def page(vitals: Vitals) -> str:
    """Return the page."""
    lines = [*_machine(vitals), *_spool(vitals), *_streams(vitals.streams), *_sources(vitals)]
    return "\n".join(lines) + "\n"


def _machine(vitals: Vitals) -> Iterator[str]:
    machine = vitals.machine
    version = ((("version", vitals.version),), 1.0)
    yield from _family("edgehaul_agent_info", "gauge", "Version of the agent.", [version])
    yield from _one(
        "process_start_time_seconds", "gauge", "Start in seconds since 1970.", vitals.started_at_s
    )
    yield from _one("process_cpu_seconds_total", "counter", "Processor time used.", machine.cpu_s)
    yield from _one(
        "process_resident_memory_bytes", "gauge", "Resident memory.", machine.rss_mb * _MIB
    )
    yield from _one(
        "edgehaul_disk_free_bytes",
        "gauge",
        "Free space where the spool lies.",
        machine.disk_free_mb * _MIB,
    )
    if machine.temperature_c is not None:
        yield from _one(
            "edgehaul_temperature_celsius", "gauge", "The warmest sensor.", machine.temperature_c
        )
    yield from _one(
        "edgehaul_broker_connected", "gauge", "Whether the broker is there.", vitals.connected
    )


def _spool(vitals: Vitals) -> Iterator[str]:
    spool = vitals.spool
    yield from _one(
        "edgehaul_spool_messages_total", "counter", "Messages numbered.", spool.produced
    )
    yield from _one(
        "edgehaul_spool_pending_messages", "gauge", "Messages not acknowledged.", spool.pending
    )
    yield from _one("edgehaul_spool_pending_bytes", "gauge", "Their size.", spool.pending_bytes)
    yield from _one(
        "edgehaul_spool_declared_lost_total",
        "counter",
        "Messages declared lost.",
        spool.declared_lost,
    )
    yield from _one(
        "edgehaul_spool_write_errors_total",
        "counter",
        "Commits that failed.",
        spool.write_errors,
    )


def _streams(streams: Mapping[str, StreamVitals]) -> Iterator[str]:
    frames, restarts, up = [], [], []
    lost, clips, clips_lost = [], [], []
    for name, stream in streams.items():
        label = ("stream", name)
        health = stream.health
        frames += [
            ((label, ("outcome", outcome)), float(getattr(health, outcome)))
            for outcome in ("processed", "dropped", "gated", "bad")
        ]
        restarts.append(((label,), float(health.restarts)))
        lost.append(((label,), float(health.snapshots_lost)))
        clips.append(((label,), float(health.clips)))
        clips_lost.append(((label,), float(health.clips_lost)))
        up.append(((label,), float(health.state == "running")))
    yield from _family(
        "edgehaul_stream_frames_total",
        "counter",
        "Frames and fixes by what became of them.",
        frames,
    )
    yield from _family(
        "edgehaul_stream_restarts_total", "counter", "Starts after a failure.", restarts
    )
    yield from _family(
        "edgehaul_stream_snapshots_lost_total", "counter", "Pictures of events not kept.", lost
    )
    yield from _family("edgehaul_stream_clips_total", "counter", "Clips of events written.", clips)
    yield from _family(
        "edgehaul_stream_clips_lost_total", "counter", "Clips of events not kept.", clips_lost
    )
    yield from _family("edgehaul_stream_running", "gauge", "Whether the stream runs.", up)
    yield from _latencies(streams)


def _sources(vitals: Vitals) -> Iterator[str]:
    lost, reconnects, states, last = [], [], [], []
    for name, stream in vitals.streams.items():
        label, source = ("stream", name), stream.health.source
        lost += [
            ((label, ("reason", reason)), float(count))
            for reason, count in stream.health.dropped_by.items()
        ]
        reconnects.append(((label,), float(source.reconnects)))
        states += [
            ((label, ("state", state)), float(source.state == state))
            for state in get_args(SourceState)
        ]
        if source.frame_age_s is not None:
            last.append(((label,), vitals.read_at_s - source.frame_age_s))
    yield from _family(
        "edgehaul_stream_frames_lost_total",
        "counter",
        "Frames and fixes that no model saw, by reason.",
        lost,
    )
    yield from _family(
        "edgehaul_source_reconnects_total", "counter", "Tries to connect again.", reconnects
    )
    yield from _family(
        "edgehaul_source_state", "gauge", "1 for what camera or receiver is doing.", states
    )
    yield from _family(
        "edgehaul_source_last_frame_timestamp_seconds",
        "gauge",
        "When the last frame or fix came, in seconds since 1970.",
        last,
    )


def _latencies(streams: Mapping[str, StreamVitals]) -> Iterator[str]:
    name = "edgehaul_stream_latency_seconds"
    if streams:
        yield f"# HELP {name} Time from the source to the result."
        yield f"# TYPE {name} histogram"
    for stream, vitals in streams.items():
        label = ("stream", stream)
        bounds = [*(f"{bound / 1000:g}" for bound in LATENCY_BOUNDS_MS), "+Inf"]
        total = 0
        for bound, count in zip(bounds, vitals.latencies.counts, strict=True):
            total += count
            yield _sample(f"{name}_bucket", (label, ("le", bound)), total)
        yield _sample(f"{name}_sum", (label,), vitals.latencies.sum_ms / 1000)
        yield _sample(f"{name}_count", (label,), total)


def _one(name: str, kind: Kind, text: str, value: float) -> Iterator[str]:
    return _family(name, kind, text, [((), value)])


def _family(name: str, kind: Kind, text: str, samples: Samples) -> Iterator[str]:
    lines = [_sample(name, labels, value) for labels, value in samples]
    if lines:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        yield from lines


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {float(value)!r}" if inner else f"{name} {float(value)!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
