"""How a device's streams, their sources and its spool are: the parts of a ``health`` message."""

from __future__ import annotations

from typing import Literal

import msgspec

StreamState = Literal["starting", "running", "waiting", "ended", "failed"]
SourceState = Literal[
    "closed",
    "connecting",
    "live",
    "black",
    "frozen",
    "hung",
    "searching",
    "waiting",
    "playing",
]
"""What a source may be doing as agents of this version tell it; see `SourceHealth`."""


class SourceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the camera or receiver of a stream is.

    Attributes:
        state: What it is doing: ``connecting``; ``live``, or ``playing`` of a recording; ``black``
            or ``frozen`` pictures; ``searching`` for satellites; ``waiting`` until it is connected
            again; ``hung``, where the decoder does not come back; ``closed``. More may be added.
        last_fault: What was wrong with it the last time, also where it is well now; without
            credentials; empty for nothing since start.
        reconnects: How often it was tried to connect it again, since start.
        frame_age_s: Time since its last frame or fix; none where none has come yet.
    """

    state: str = ""
    last_fault: str = ""
    reconnects: int = 0
    frame_age_s: float | None = None


class StreamHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one stream since start.

    Attributes:
        frames: Frames (or fixes) read.
        processed: Of these, those that a model saw.
        dropped: Of these, those refused by the frame policy.
        gated: Of these, those not looked at because nothing moved, or at that hour.
        bad: Frames that could not be decoded, fixes without a time or a place; never fatal.
        dropped_by: Those dropped, gated and bad by reason: ``stride``, ``policy`` (not wanted when
            they came), ``queue`` (gave way to newer ones), ``motion``, ``hours``, ``undecodable``
            and ``unusable``; only what is not 0. More reasons may be added.
        fps: Processed per second over the last interval.
        fps_in: Read per second over the last interval.
        latency_p50_ms: Median time from source to result over the last interval.
        latency_p99_ms: 99th percentile of the same.
        state: What the stream is doing: ``waiting`` is between a failure and the next try,
            ``failed`` is for good.
        restarts: How often it was started again after it failed or hung.
        fault: Why its camera is away now; or else why it was started again the last time, or
            cannot run; empty for no reason.
        snapshots_lost: Pictures of events that the disk had no time or room for.
        clips: Clips of events that were written.
        clips_lost: Clips that were not, for want of time or room.
        source: How its camera or receiver is.
    """

    frames: int = 0
    processed: int = 0
    dropped: int = 0
    gated: int = 0
    bad: int = 0
    dropped_by: dict[str, int] = {}
    fps: float = 0.0
    fps_in: float = 0.0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    state: StreamState = "running"
    restarts: int = 0
    fault: str = ""
    snapshots_lost: int = 0
    clips: int = 0
    clips_lost: int = 0
    source: SourceHealth = SourceHealth()


class SpoolHealth(msgspec.Struct, frozen=True, kw_only=True):
    """State of the durable spool.

    Attributes:
        pending: Messages not yet acknowledged.
        pending_bytes: Their size.
        produced: Messages numbered in this epoch.
        declared_lost: Messages declared in ``gap`` records in this epoch.
        write_errors: Commits that failed since start, such as on a full disk.
    """

    pending: int = 0
    pending_bytes: int = 0
    produced: int = 0
    declared_lost: int = 0
    write_errors: int = 0
