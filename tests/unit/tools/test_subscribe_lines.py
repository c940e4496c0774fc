"""Each kind of message as a line for people."""

import msgspec
import pytest

from edgehaul.geometry import Box, Point
from edgehaul.messages.envelope import ReadPayload
from edgehaul.messages.health import SourceHealth, SpoolHealth, StreamHealth
from edgehaul.messages.payloads import (
    AnomalyEvent,
    CommandData,
    CountEvent,
    DetectedObject,
    DetectionsData,
    EventData,
    GapData,
    HealthData,
    Placement,
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
from edgehaul.values import Fix
from edgehaul_tools.subscribe.lines import describe
from tests.fakes.delivery import stored_message

PARCEL = DetectedObject(label="parcel", score=0.9, box=Box(1, 2, 3, 4))
TRUCK = DetectedObject(
    label="truck", score=0.9, box=Box(1, 2, 3, 4), attributes={"color": "red", "body": "van"}
)
PLACE = Fix(captured_at_s=0.0, latitude_deg=22.5, longitude_deg=114.05, speed_mps=3.0)
SEEN = (
    " (interpolated, within 5 m), picture media/dock/2026-01-31/120000-7.jpg,"
    " clip media/dock/2026-01-31/120000-7.webm"
)
COUNT = CountEvent(
    line="gate", direction="forward", label="parcel", track_id=7, at=Point(5, 6), totals={}
)
ANOMALY = AnomalyEvent(label="speeding", score=0.87, started_at="10:00", ended_at="10:01")


@pytest.mark.parametrize(
    ("data", "gist"),
    [
        (DetectionsData(frame=0, width=1, height=1, objects=(PARCEL, PARCEL)), "2 parcel"),
        (
            DetectionsData(frame=0, width=1, height=1, objects=(TRUCK, PARCEL, TRUCK)),
            "2 truck (body van, color red), 1 parcel",
        ),
        (DetectionsData(frame=0, width=1, height=1, objects=()), "nothing"),
        (EventData(event=TrackEvent(phase="new", track_id=7, after=PARCEL)), "track 7 new parcel"),
        (
            EventData(event=TrackEvent(phase="end", track_id=7, before=TRUCK, after=TRUCK)),
            "track 7 end truck (body van, color red)",
        ),
        (EventData(event=TrackEvent(phase="end", track_id=7)), "track 7 end"),
        (EventData(event=COUNT), "parcel crossed gate forward"),
        (
            EventData(event=COUNT, position=PLACE),
            "parcel crossed gate forward at 22.500000 114.050000",
        ),
        (
            EventData(
                event=COUNT,
                position=PLACE,
                placement=Placement(source="interpolated", uncertainty_m=4.6, age_s=0.5),
                snapshot="media/dock/2026-01-31/120000-7.jpg",
                clip="media/dock/2026-01-31/120000-7.webm",
            ),
            f"parcel crossed gate forward at 22.500000 114.050000{SEEN}",
        ),
        (EventData(event=ANOMALY), "speeding (0.87) 10:00 to 10:01"),
        (
            EventData(
                event=ZoneEvent(
                    zone="yard",
                    phase="exit",
                    label="van",
                    track_id=7,
                    at=Point(1, 2),
                    dwell_s=61.25,
                    reason="lost",
                )
            ),
            "van 7 exit yard after 61.2 s (lost)",
        ),
        (
            EventData(
                event=ZoneEvent(zone="yard", phase="enter", label="van", track_id=7, at=Point(1, 2))
            ),
            "van 7 enter yard",
        ),
        (EventData(event=OccupancyEvent(zone="yard", count=3)), "3 in yard"),
        (
            EventData(event=OccupancyEvent(zone="yard", count=9, overcrowded=True)),
            "9 in yard, too many",
        ),
        (
            EventData(event=QueueEvent(zone="till", length=4, mean_wait_s=30, max_wait_s=70)),
            "4 wait in till, 30.0 s in the mean, 70.0 s at most",
        ),
        (
            EventData(event=DockEvent(zone="dock 3", state="free", duration_s=1800)),
            "dock 3 is free after 1800.0 s",
        ),
        (
            EventData(
                event=ObjectEvent(
                    zone="hall",
                    phase="left",
                    label="bag",
                    track_id=7,
                    box=Box(1, 2, 3, 4),
                    stood_s=60.5,
                )
            ),
            "bag left in hall, stood 60.5 s",
        ),
        (EventData(event=TripEvent(phase="start", started_at="10:00")), "trip started"),
        (
            EventData(event=TripEvent(phase="end", started_at="1", distance_m=950, duration_s=90)),
            "trip ended: 950 m in 90 s",
        ),
        (EventData(event=GeofenceEvent(fence="yard", phase="enter")), "geofence yard: enter"),
        (
            EventData(
                event=RouteEvent(route="r", phase="deviated", started_at="1", distance_m=310.0)
            ),
            "route r: deviated, 310 m away",
        ),
        (
            EventData(
                event=DrivingEvent(
                    manoeuvre="idling", phase="start", started_at="1", peak_at="2", duration_s=120
                )
            ),
            "idling start, 120 s",
        ),
        (
            EventData(event=UnknownEvent(kind="weighing", fields={"mass_kg": 81.5})),
            'weighing {"mass_kg":81.5}',
        ),
        (UnknownData(kind="weather", fields={"sky": ["grey"]}), 'weather {"sky":["grey"]}'),
        (PositionData(fix=PLACE), "22.500000 114.050000 3.0 m/s"),
        (PositionData(fix=PLACE, valid=False), "22.500000 114.050000 3.0 m/s, not believed"),
        (StateData(status="stopped"), "stopped"),
        (StateData(status="offline", reason="connection lost"), "offline connection lost"),
        (
            HealthData(uptime_s=1, rss_mb=80.4, spool=SpoolHealth(pending=3, produced=10)),
            "80 MiB, 3 pending of 10",
        ),
        (
            HealthData(
                uptime_s=1,
                rss_mb=80.4,
                streams={
                    "dock": StreamHealth(restarts=2, fault="it was unplugged"),
                    "gate": StreamHealth(state="waiting", fault="it is unplugged"),
                },
            ),
            "80 MiB, 0 pending of 0; gate waiting: it is unplugged",
        ),
        (
            HealthData(
                uptime_s=1,
                rss_mb=80.4,
                streams={
                    "belt": StreamHealth(source=SourceHealth(state="playing")),
                    "dock": StreamHealth(
                        source=SourceHealth(state="black", last_fault="the picture is black")
                    ),
                    "gate": StreamHealth(source=SourceHealth(state="live", last_fault="it was")),
                    "truck": StreamHealth(source=SourceHealth(state="searching")),
                },
            ),
            "80 MiB, 0 pending of 0; dock black: the picture is black; truck searching",
        ),
        (
            GapData(first_sequence=4, last_sequence=6, lane="telemetry", reason="quota"),
            "3 messages of lane telemetry lost: quota",
        ),
        (CommandData(command="status"), "CommandData(command='status', arguments={})"),
    ],
)
def test_a_line_tells_time_topic_and_gist(data: ReadPayload, gist: str) -> None:
    message = stored_message(1)
    envelope = msgspec.structs.replace(message.envelope, data=data)
    line = describe(msgspec.structs.replace(message, envelope=envelope))
    assert line == f"2027-01-15T08:00:00.000Z depot/box-1/detections/cam {gist}"


def test_the_backlog_is_marked() -> None:
    message = stored_message(1)
    envelope = msgspec.structs.replace(message.envelope, historical=True)
    assert "cam (backlog) nothing" in describe(msgspec.structs.replace(message, envelope=envelope))
