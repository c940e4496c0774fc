"""One measured run of each kind, in this process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from edgehaul.clock import SystemClock
from edgehaul_agent.app import Agent, raise_for_failures
from edgehaul_agent.benching.gauge import Gauge, Sample
from edgehaul_agent.benching.ideal import run_ideal
from edgehaul_agent.benching.job import STAGES, Job, Measured
from edgehaul_agent.benching.metered_assembly import MeteredAssembly, TimedAssembly
from edgehaul_agent.benching.process import peak_resident_mib, thread_times
from edgehaul_agent.benching.stopwatch import Stopwatch

_PYTHON, _RUNTIME, _DELIVERY = "threads: python", "threads: runtime", "threads: delivery"
_DELIVERS = ("spool", "forwarder", "paho")
"""Threads that do nothing but deliver begin so."""


def run(job: Job) -> Measured:
    """Run a job and return what it cost.

    Raises:
        EdgeHaulError: It failed, or was over too early.
    """
    watch = Stopwatch()
    names = [stream.name for stream in job.config.streams]
    plain = Gauge(job.limits, len(names), SystemClock())
    if job.kind == "agent":
        return _run_agent(job, MeteredAssembly(job, plain), plain)
    timed = Gauge(
        job.limits, len(names), SystemClock(), lambda: {**watch.totals_s(), **_threads_s()}
    )
    if job.kind == "staged":
        return _run_agent(job, TimedAssembly(job, timed, watch), timed)
    run_ideal(job, timed, watch)
    return _measured(timed, names)


def _run_agent(job: Job, assembly: MeteredAssembly, gauge: Gauge) -> Measured:
    agent = Agent(assembly, threading.Event(), drain_timeout_s=job.drain_timeout_s)
    report = agent.run()
    raise_for_failures(report)
    dropped = sum(stream.dropped for stream in report.streams.values())
    names = [stream.name for stream in job.config.streams]
    return _measured(gauge, names, dropped=dropped, delivered=report.delivered)


def _measured(
    gauge: Gauge, names: Sequence[str], *, dropped: int = 0, delivered: bool = False
) -> Measured:
    """Return what was measured.

    Raises:
        UsageError: Nothing was.
    """
    first, last = gauge.window
    p50_ms, p99_ms = gauge.percentiles_ms()
    return Measured(
        frames={name: last.frames.get(name, 0) - first.frames.get(name, 0) for name in names},
        wall_s=last.wall_s - first.wall_s,
        cpu_s=last.cpu_s - first.cpu_s,
        stages_s=stages_between(first, last),
        latency_p50_ms=p50_ms,
        latency_p99_ms=p99_ms,
        rss_peak_mib=peak_resident_mib(),
        rss_end_mib=last.rss_mib,
        dropped=dropped,
        delivered=delivered,
    )


def stages_between(first: Sample, last: Sample) -> dict[str, float]:
    """Return the processor time of each stage between two samples; nothing without stopwatches.

    What no thread of Python has used is that of libraries' own threads: decoders', which come and
    go with each file, and those of the model's runtime, which stay. What is left at the end is
    ``rest``: the hand-over, the objects of messages, heartbeat and supervision.
    """
    if not last.details_s:
        return {}
    spent_s = {
        name: last.details_s[name] - first.details_s.get(name, 0.0) for name in last.details_s
    }
    cpu_s = last.cpu_s - first.cpu_s
    stages_s = {stage: spent_s.get(stage, 0.0) for stage in STAGES}
    if spent_s[_PYTHON]:
        libraries_s = cpu_s - spent_s[_PYTHON] - spent_s[_RUNTIME]
        stages_s["decode"] += max(0.0, libraries_s)
        stages_s["run"] += spent_s[_RUNTIME]
    stages_s["delivery"] += spent_s[_DELIVERY]
    return {**stages_s, "rest": cpu_s - sum(stages_s.values())}


def _threads_s() -> dict[str, float]:
    times = thread_times()
    named = times.named_s
    return {
        _PYTHON: sum(named.values()),
        _RUNTIME: times.runtime_s,
        _DELIVERY: sum(used_s for name, used_s in named.items() if name.startswith(_DELIVERS)),
    }
