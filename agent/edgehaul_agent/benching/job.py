"""What one run is told, and what it tells."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul.config.device import DeviceConfig

Kind = Literal["ideal", "agent", "staged"]
"""Decoding and the model alone; the agent as it is; the agent with its stages timed."""
STAGES = ("decode", "canvas", "run", "head", "tracking", "rules", "delivery")
"""In a frame's order; what is none of them is the rest."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a run lasts.

    Attributes:
        frames: Frames of each stream; 0 for no such limit.
        duration_s: Seconds after the warm-up; 0 for no such limit.
        warm_up_frames: Frames of all streams together that come before the measurement.
    """

    frames: int = 0
    duration_s: float = 0.0
    warm_up_frames: int = 0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        kind: What runs.
        config: The device; its root and its sources have absolute paths.
        folder: Where its other relative paths start.
        spool_folder: Where the spool lies.
        limits: How long it lasts.
        rate_fps: Frames a second that each stream offers; 0 for as fast as they are taken.
        drain_timeout_s: How long to wait at the end until everything is delivered.
    """

    kind: Kind
    config: DeviceConfig
    folder: str
    spool_folder: str
    limits: Limits
    rate_fps: float = 0.0
    drain_timeout_s: float = 0.0


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost between the end of its warm-up and the end of its first stream.

    Attributes:
        frames: Frames by stream.
        wall_s: How long that took.
        cpu_s: Processor time of the whole process.
        stages_s: Processor time by stage, where they were timed.
        latency_p50_ms: Median time from a frame's capture until its result is on the disk.
        latency_p99_ms: The same, 99 of 100.
        rss_peak_mib: Most resident memory of the whole run, its start included.
        rss_end_mib: Resident memory at the end of the measurement.
        dropped: Frames of the whole run that were refused.
        delivered: Whether all of it was acknowledged by the broker.
    """

    frames: dict[str, int]
    wall_s: float
    cpu_s: float
    stages_s: dict[str, float]
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    rss_peak_mib: float = 0.0
    rss_end_mib: float = 0.0
    dropped: int = 0
    delivered: bool = False

    @property
    def total_frames(self) -> int:
        """Frames of all streams."""
        return sum(self.frames.values())

    @property
    def cpu_ms_per_frame(self) -> float:
        """Processor time of a frame."""
        return 1000 * self.cpu_s / self.total_frames
