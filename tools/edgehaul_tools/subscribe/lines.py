"""A message as one line for people."""

from __future__ import annotations

from collections import Counter

import msgspec

from edgehaul.messages.health import StreamHealth
from edgehaul.messages.payloads import (
    AnomalyEvent,
    CountEvent,
    DetectedObject,
    DetectionsData,
    EventData,
    ForecastEvent,
    GapData,
    Happening,
    HealthData,
    PositionData,
    StateData,
    TrackEvent,
)
from edgehaul.messages.unknown import UnknownData, UnknownEvent
from edgehaul.messages.vehicle import DrivingEvent, GeofenceEvent, RouteEvent, TripEvent
from edgehaul.messages.zone_events import (
    DockEvent,
    ObjectEvent,
    OccupancyEvent,
    QueueEvent,
    ZoneEvent,
)
from edgehaul.subscriber.client import ReceivedMessage
from edgehaul.values import Fix

_WELL = frozenset({"", "live", "playing", "closed", "connecting"})
"""States of a source that need nobody's attention; what a newer agent tells does."""


def describe(message: ReceivedMessage) -> str:
    """Return the message's time, topic and gist."""
    envelope = message.envelope
    mark = " (backlog)" if envelope.historical else ""
    topic = message.topic.partition("/v1/")[2] or message.topic
    return f"{envelope.time} {topic}{mark} {_gist(envelope.data)}"


def _gist(data: object) -> str:
    match data:
        case DetectionsData():
            found = Counter(map(_object, data.objects))
            return ", ".join(f"{count} {label}" for label, count in found.items()) or "nothing"
        case EventData():
            return _told(data)
        case PositionData(fix=fix):
            speed = "" if fix.speed_mps is None else f" {fix.speed_mps:.1f} m/s"
            return f"{_place(fix)}{speed}{'' if data.valid else ', not believed'}"
    return _condition(data)


def _condition(data: object) -> str:
    match data:
        case StateData():
            return f"{data.status} {data.reason}".rstrip()
        case HealthData(spool=spool):
            troubles = "".join(map(_trouble, data.streams, data.streams.values()))
            return f"{data.rss_mb:.0f} MiB, {spool.pending} pending of {spool.produced}{troubles}"
        case GapData():
            return f"{data.count} messages of lane {data.lane} lost: {data.reason}"
        case UnknownData():
            return _unknown(data)
    return repr(data)


def _trouble(name: str, stream: StreamHealth) -> str:
    """Return what is wrong with a stream; empty for nothing."""
    source = stream.source
    if stream.state in {"waiting", "failed"}:
        return f"; {name} {stream.state}: {stream.fault}"
    if source.state in _WELL:
        return ""
    return f"; {name} {source.state}: {source.last_fault}".rstrip(": ")


def _unknown(newer: UnknownData | UnknownEvent) -> str:
    """Return all that came of a kind that nobody has told us about."""
    return f"{newer.kind} {msgspec.json.encode(newer.fields).decode()}"


def _told(data: EventData) -> str:
    """Return what happened, where, and what shows it."""
    event = data.event
    gist = _unknown(event) if isinstance(event, UnknownEvent) else _event(event)
    where = f" at {_place(data.position)}" if data.position is not None else ""
    if data.placement is not None:
        where += f" ({data.placement.source}, within {data.placement.uncertainty_m:.0f} m)"
    shown = "".join(
        f", {what} {file}"
        for what, file in (("picture", data.snapshot), ("clip", data.clip))
        if file
    )
    return f"{gist}{where}{shown}"


def _place(fix: Fix) -> str:
    return f"{fix.latitude_deg:.6f} {fix.longitude_deg:.6f}"


def _object(found: DetectedObject) -> str:
    """Return its class, and what further models say of it."""
    more = ", ".join(f"{name} {value}" for name, value in sorted(found.attributes.items()))
    return f"{found.label} ({more})" if more else found.label


def _event(event: Happening) -> str:
    match event:
        case TrackEvent(after=after):
            what = _object(after) if after else ""
            return f"track {event.track_id} {event.phase} {what}".rstrip()
        case CountEvent():
            return f"{event.label} crossed {event.line} {event.direction}"
        case AnomalyEvent():
            return f"{event.label} ({event.score:.2f}) {event.started_at} to {event.ended_at}"
        case ForecastEvent():
            values = ", ".join(f"{name} {value:.1f}" for name, value in event.values.items())
            return f"in {event.horizon_s:g} s: {values}"
    if isinstance(event, TripEvent | GeofenceEvent | RouteEvent | DrivingEvent):
        return _vehicle(event)
    return _zone_event(event)


def _zone_event(
    event: ZoneEvent | OccupancyEvent | QueueEvent | DockEvent | ObjectEvent,
) -> str:
    too_many = ", too many" if getattr(event, "overcrowded", False) else ""
    match event:
        case ZoneEvent():
            after = "" if event.phase == "enter" else f" after {event.dwell_s:.1f} s"
            reason = f" ({event.reason})" if event.reason else ""
            return f"{event.label} {event.track_id} {event.phase} {event.zone}{after}{reason}"
        case OccupancyEvent():
            return f"{event.count} in {event.zone}{too_many}"
        case QueueEvent():
            return (
                f"{event.length} wait in {event.zone}{too_many}, {event.mean_wait_s:.1f} s in the"
                f" mean, {event.max_wait_s:.1f} s at most"
            )
        case DockEvent():
            return f"{event.zone} is {event.state} after {event.duration_s:.1f} s"
        case ObjectEvent():
            return f"{event.label} {event.phase} in {event.zone}, stood {event.stood_s:.1f} s"


def _vehicle(event: TripEvent | GeofenceEvent | RouteEvent | DrivingEvent) -> str:
    match event:
        case TripEvent(phase="start"):
            return "trip started"
        case TripEvent():
            return f"trip ended: {event.distance_m:.0f} m in {event.duration_s:.0f} s"
        case GeofenceEvent():
            return f"geofence {event.fence}: {event.phase}"
        case RouteEvent():
            return f"route {event.route}: {event.phase}, {event.distance_m:.0f} m away"
        case DrivingEvent():
            return f"{event.manoeuvre} {event.phase}, {event.duration_s:.0f} s"
