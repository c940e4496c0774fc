"""What a benchmark of the agent tells, and the table of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import msgspec

from edgehaul_agent.benching.job import STAGES, Measured

SHOWN = {
    "decode": "decode",
    "canvas": "bring onto the canvas",
    "run": "run the model",
    "head": "decode its answer, NMS",
    "tracking": "tracking",
    "rules": "lines, zones, events",
    "delivery": "delivery: JSON, spool, MQTT",
    "rest": "rest: threads, hand-over",
}
"""Each stage as people call it."""
_STAGE = "  {:<30}{:>8.3f} ms {:>5.1f} %"


class AgentBench(msgspec.Struct, frozen=True, kw_only=True):
    """The agent on this box; all but the spreads are medians over the rounds.

    Attributes:
        model: Name and version of the model.
        variant: The variant that ran.
        runtime: What ran it.
        source: What the streams showed.
        delivery: Where results went, and why not to a broker.
        streams: Number of streams.
        workers: Threads that ran the model.
        rate_fps: Frames a second that each stream offered; 0 for as fast as they were taken.
        rounds: Number of rounds; in each all kinds of runs take turns.
        frames: Frames measured in a round.
        fps_total: Frames a second of all streams.
        fps_least: Those of the slowest stream.
        fps_most: Those of the fastest.
        dropped_frames: Frames refused, of a whole run.
        cpu_ms_per_frame: Processor time of the whole agent for a frame.
        ideal_decode_ms_per_frame: That of decoding alone.
        ideal_run_ms_per_frame: That of the model alone.
        efficiency: What decoding and the model alone need / what the agent needs.
        efficiency_least: The worst round.
        efficiency_most: The best.
        stages_ms_per_frame: Processor time by stage; their sum is ``cpu_ms_per_frame``.
        latency_p50_ms: From the capture of a frame until its result is on the disk.
        latency_p99_ms: The same, 99 of 100.
        rss_peak_mib: Most resident memory, the start included.
        rss_end_mib: Resident memory at the end.
        load_average: Of the machine, when it was over.
    """

    model: str
    variant: str
    runtime: str
    source: str
    delivery: str
    streams: int
    workers: int
    rate_fps: float
    rounds: int
    frames: int
    fps_total: float
    fps_least: float
    fps_most: float
    dropped_frames: int
    cpu_ms_per_frame: float
    ideal_decode_ms_per_frame: float
    ideal_run_ms_per_frame: float
    efficiency: float
    efficiency_least: float
    efficiency_most: float
    stages_ms_per_frame: dict[str, float]
    latency_p50_ms: float
    latency_p99_ms: float
    rss_peak_mib: float
    rss_end_mib: float
    load_average: float


class Round(msgspec.Struct, frozen=True):
    """One run of each kind, one after the other."""

    ideal: Measured
    agent: Measured
    staged: Measured

    @property
    def efficiency(self) -> float:
        """What decoding and the model alone need / what the agent needs."""
        return self.ideal.cpu_ms_per_frame / self.agent.cpu_ms_per_frame


def stages_ms(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the processor time of a frame by stage.

    Each stage has the part that it had in the runs with stopwatches, of what a frame took
    without them: so the stopwatches' own time stands in no sum.
    """
    whole_ms = statistics.median(one.agent.cpu_ms_per_frame for one in rounds)
    parts = {
        stage: statistics.median(one.staged.stages_s[stage] / one.staged.cpu_s for one in rounds)
        for stage in (*STAGES, "rest")
    }
    total = sum(parts.values())
    return {stage: whole_ms * part / total for stage, part in parts.items()}


def figures(rounds: Sequence[Round]) -> dict[str, float]:
    """Return the medians over the rounds by the names of :class:`AgentBench`."""

    def median(value: Callable[[Round], float]) -> float:
        return statistics.median(value(one) for one in rounds)

    efficiencies = [one.efficiency for one in rounds]
    return {
        "fps_total": median(lambda one: one.agent.total_frames / one.agent.wall_s),
        "fps_least": median(lambda one: min(one.agent.frames.values()) / one.agent.wall_s),
        "fps_most": median(lambda one: max(one.agent.frames.values()) / one.agent.wall_s),
        "cpu_ms_per_frame": median(lambda one: one.agent.cpu_ms_per_frame),
        "ideal_decode_ms_per_frame": median(
            lambda one: one.ideal.cpu_ms_per_frame - _run_ms(one.ideal)
        ),
        "ideal_run_ms_per_frame": median(lambda one: _run_ms(one.ideal)),
        "efficiency": statistics.median(efficiencies),
        "efficiency_least": min(efficiencies),
        "efficiency_most": max(efficiencies),
        "latency_p50_ms": median(lambda one: one.agent.latency_p50_ms),
        "latency_p99_ms": median(lambda one: one.agent.latency_p99_ms),
        "rss_peak_mib": median(lambda one: one.agent.rss_peak_mib),
        "rss_end_mib": median(lambda one: one.agent.rss_end_mib),
    }


def _run_ms(ideal: Measured) -> float:
    return 1000 * ideal.stages_s["run"] / ideal.total_frames


def lines_of(bench: AgentBench) -> Iterator[str]:
    """Yield the table for people."""
    pace = f"{bench.rate_fps:g} frames a second each" if bench.rate_fps else "at full speed"
    yield f"{bench.model}, variant {bench.variant}, by {bench.runtime}, {bench.workers} workers"
    yield f"{bench.streams} streams ({bench.source}) {pace}; delivery: {bench.delivery}"
    yield ""
    yield (
        f"frames a second       {bench.fps_total:.1f} "
        f"(streams {bench.fps_least:.1f} to {bench.fps_most:.1f}), {bench.dropped_frames} dropped"
    )
    yield f"CPU for a frame       {bench.cpu_ms_per_frame:.3f} ms"
    whole = bench.cpu_ms_per_frame
    for stage, name in SHOWN.items():
        spent = bench.stages_ms_per_frame[stage]
        yield _STAGE.format(name, spent, 100 * spent / whole)
    decode, run = bench.ideal_decode_ms_per_frame, bench.ideal_run_ms_per_frame
    yield f"decode, model alone   {decode:.3f} + {run:.3f} ms"
    yield (
        f"efficiency            {bench.efficiency:.3f} "
        f"({bench.efficiency_least:.3f} to {bench.efficiency_most:.3f})"
    )
    yield (
        f"capture to disk       {bench.latency_p50_ms:.1f} ms (99 %: {bench.latency_p99_ms:.1f} ms)"
    )
    yield f"resident memory       {bench.rss_end_mib:.0f} MiB, {bench.rss_peak_mib:.0f} at most"
    yield ""
    runs = "one round" if bench.rounds == 1 else f"medians of {bench.rounds} rounds"
    yield f"{runs} of {bench.frames} frames; load average {bench.load_average:.1f}"
