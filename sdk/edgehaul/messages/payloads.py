"""What messages carry.

The contract grows by fields and by kinds: readers ignore fields that they do not know, and give
kinds that they do not know as :mod:`edgehaul.messages.unknown` says. A closed list of words, such
as the phases of a trip, does not grow: what would need a new word is a new kind or field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from edgehaul.geometry import Box, Point
from edgehaul.messages.health import SpoolHealth, StreamHealth
from edgehaul.messages.unknown import UnknownEvent
from edgehaul.messages.vehicle import DrivingEvent, GeofenceEvent, RouteEvent, TripEvent
from edgehaul.messages.zone_events import (
    DockEvent,
    ObjectEvent,
    OccupancyEvent,
    QueueEvent,
    ZoneEvent,
)
from edgehaul.values import Fix

DeviceStatus = Literal["online", "stopped", "offline"]
AcknowledgeMode = Literal["collector", "puback"]
Lane = Literal["alarm", "event", "telemetry", "media"]
TrackPhase = Literal["new", "update", "end"]
SequenceNumber = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""What a database's integer column holds; a larger or negative number is no message of ours."""


class _Payload(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Base of all payloads; the field ``kind`` names the class."""


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One model as it runs on the device.

    Attributes:
        name: Its name.
        version: Its version.
        variant: The variant that runs.
        runtime: Name and version of what runs it; empty where that is not known.
        providers: What of the runtime really runs it, the preferred one first.
        optimised: Whether it is the graph that was optimised for this machine.
    """

    name: str
    version: str
    variant: str
    runtime: str = ""
    providers: tuple[str, ...] = ()
    optimised: bool = False


class StateData(_Payload, frozen=True, kw_only=True, tag="state"):
    """Whether the device is there; retained, and the last will says ``offline``.

    Attributes:
        status: ``online``, ``stopped`` (on purpose) or ``offline`` (link or power lost).
        agent_version: Version of the agent.
        epoch: The spool's present epoch.
        acknowledge: Whose receipt lets the device delete a message: a collector's, end to
            end, or only the broker's (PUBACK), which is weaker.
        first_pending: Lowest sequence that the device still holds and can send; what lies
            below was delivered or declared lost before. 0 means unknown.
        models: The models in use.
        streams: Names of the camera and GPS streams.
        reason: Why it stopped, where it did.
    """

    status: DeviceStatus
    agent_version: str = ""
    epoch: str = ""
    acknowledge: AcknowledgeMode = "puback"
    first_pending: SequenceNumber = 0
    models: tuple[ModelState, ...] = ()
    streams: tuple[str, ...] = ()
    reason: str = ""


class DetectedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object in one frame.

    Attributes:
        label: Name of the class.
        score: Confidence in 0..1.
        box: ``[x1, y1, x2, y2]`` in pixels of the original frame.
        track_id: Identity over time, where a tracker runs.
        attributes: What further models say of it over its life, by name, such as ``color``.
    """

    label: str
    score: float
    box: Box
    track_id: int | None = None
    attributes: dict[str, str] = {}


class DetectionsData(_Payload, frozen=True, kw_only=True, tag="detections"):
    """All objects found in one frame.

    Attributes:
        frame: Number of the frame in its stream, from 0.
        width: Width of the frame in pixels.
        height: Height of the frame in pixels.
        objects: What was found; may be empty.
        model: Name of the model.
        latency_ms: Time from taking the frame out of the source to its result.
    """

    frame: int
    width: int
    height: int
    objects: tuple[DetectedObject, ...]
    model: str = ""
    latency_ms: float = 0.0


class TrackEvent(msgspec.Struct, frozen=True, kw_only=True, tag="track"):
    """Life of a tracked object: ``new``, then ``update`` s, then ``end``, under one id.

    Attributes:
        phase: Where in its life the object is.
        track_id: Identity in its stream.
        before: The object at the previous message; none for ``new``.
        after: The object now; its last known state for ``end``.
    """

    phase: TrackPhase
    track_id: int
    before: DetectedObject | None = None
    after: DetectedObject | None = None


class CountEvent(msgspec.Struct, frozen=True, kw_only=True, tag="count"):
    """An object crossed a counting line.

    Attributes:
        line: Name of the line.
        direction: ``forward`` (to the right of the line as drawn) or ``backward``.
        label: Best label of the object over its track.
        track_id: The object.
        at: Where it crossed, in pixels.
        totals: Crossings of this line since start, ``{direction}/{label}`` to number.
    """

    line: str
    direction: Literal["forward", "backward"]
    label: str
    track_id: int
    at: Point
    totals: dict[str, int]


class AnomalyEvent(msgspec.Struct, frozen=True, kw_only=True, tag="anomaly"):
    """Something unusual over a span of time, on a trace or in pictures.

    Attributes:
        label: What it is, such as ``harsh_braking``.
        score: Largest confidence within the span.
        started_at: Start of the span, RFC 3339 in UTC.
        ended_at: End of the span, RFC 3339 in UTC.
        model: Name of the model.
        position: Where it was worst, where known.
    """

    label: str
    score: float
    started_at: str
    ended_at: str
    model: str = ""
    position: Fix | None = None


class ForecastEvent(msgspec.Struct, frozen=True, kw_only=True, tag="forecast"):
    """What a model expects of the vehicle.

    Attributes:
        values: The model's answers by name, with their units: ``forward_m`` and ``left_m`` are
            the way to the expected position, seen from the driver's seat.
        horizon_s: How far ahead they lie.
        ended_at: End of the motion that they follow from, RFC 3339 in UTC.
        model: Name of the model.
    """

    values: dict[str, float]
    horizon_s: float
    ended_at: str
    model: str = ""


CameraEvent = (
    TrackEvent | CountEvent | ZoneEvent | OccupancyEvent | QueueEvent | DockEvent | ObjectEvent
)
"""What the rules of a camera stream tell."""

Happening = (
    CameraEvent
    | AnomalyEvent
    | ForecastEvent
    | TripEvent
    | GeofenceEvent
    | RouteEvent
    | DrivingEvent
)
"""All that can happen."""

if TYPE_CHECKING:
    ReadHappening = Happening | UnknownEvent
    """What a reader may meet."""
else:
    # Only `codec.decode` makes the other one: it has no form of its own to be written in.
    ReadHappening = Happening


PlacementSource = Literal["measured", "interpolated", "extrapolated"]


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """How a position was got that no receiver has measured at that very time.

    Attributes:
        source: ``measured``, ``interpolated`` between two fixes, or ``extrapolated`` from the
            newest.
        uncertainty_m: Radius around the position that holds the true one 19 times out of 20.
        age_s: Time to the nearest fix that it was made of.
    """

    source: PlacementSource
    uncertainty_m: float
    age_s: float = 0.0


class EventData(_Payload, frozen=True, kw_only=True, tag="event"):
    """Something happened.

    Attributes:
        event: What happened; readers may meet kinds that they do not know.
        position: Where the device was at that time, where known.
        placement: How that position was got; none where it is a receiver's own fix.
        snapshot: File of its picture below the device's root, where one was taken. It is written
            a moment later, and removed in time.
        clip: File of its clip, likewise, written when that has ended; close events share one.
    """

    event: ReadHappening
    position: Fix | None = None
    placement: Placement | None = None
    snapshot: str = ""
    clip: str = ""


class PositionData(_Payload, frozen=True, kw_only=True, tag="position"):
    """Where the device was.

    Attributes:
        fix: The receiver's fix.
        valid: Whether it passed the plausibility gates.
    """

    fix: Fix
    valid: bool = True


class HealthData(_Payload, frozen=True, kw_only=True, tag="health"):
    """How the device is doing.

    Attributes:
        uptime_s: Seconds since the agent started.
        rss_mb: Resident memory of the agent in MiB.
        cpu_percent: Of one core, since the last message.
        disk_free_mb: Free space where the spool lies, in MiB.
        temperature_c: Processor temperature, where the box tells it.
        streams: Counters by stream.
        spool: State of the spool.
    """

    uptime_s: float
    rss_mb: float
    cpu_percent: float = 0.0
    disk_free_mb: float = 0.0
    temperature_c: float | None = None
    streams: dict[str, StreamHealth] = {}
    spool: SpoolHealth = SpoolHealth()


class UpdateData(_Payload, frozen=True, kw_only=True, tag="update"):
    """Progress of the installation of a model.

    Attributes:
        name: Name of the model.
        version: Version it becomes.
        phase: How far it is.
        detail: Why, where it failed.
    """

    name: str
    version: str
    phase: Literal["downloading", "verifying", "installed", "activated", "rolled_back", "refused"]
    detail: str = ""


class GapData(_Payload, frozen=True, kw_only=True, tag="gap"):
    """Messages that were numbered but will never come, declared by the device itself.

    Attributes:
        first_sequence: First number lost.
        last_sequence: Last number lost, inclusive.
        lane: The lane they were in.
        reason: Why, such as ``quota``.
    """

    first_sequence: SequenceNumber
    last_sequence: SequenceNumber
    lane: Lane
    reason: str

    @property
    def count(self) -> int:
        """Number of messages lost."""
        return self.last_sequence - self.first_sequence + 1


class AckData(_Payload, frozen=True, kw_only=True, tag="ack"):
    """A collector's receipt, retained: it waits for nothing up to ``sequence`` of ``epoch``.

    Each message up to there is stored durably, was declared lost, or lies below a
    ``first_pending`` of the device: it was delivered to others before, or let go of, and can
    not come any more. The receipt does not claim that this collector has stored the latter.

    Attributes:
        epoch: The spool's epoch that is meant.
        sequence: Highest sequence up to which nothing can still come; 0 for none yet.
        collector: Who has stored it.
    """

    epoch: str
    sequence: SequenceNumber
    collector: str = ""


class CommandData(_Payload, frozen=True, kw_only=True, tag="command"):
    """Something the device is asked to do."""

    command: Literal["status", "install", "rollback"]
    arguments: dict[str, str] = {}


class CommandResultData(_Payload, frozen=True, kw_only=True, tag="command_result"):
    """The answer to a command, on ``command/{id}/result``."""

    ok: bool
    detail: str = ""
