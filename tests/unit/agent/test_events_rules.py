"""All rules of a stream together: what is driven, in which order, and what is published."""

from __future__ import annotations

import random
import threading
from typing import Literal

import msgspec
import pytest

from edgehaul.config.device import CountingLine, StreamConfig
from edgehaul.config.zones import ZoneConfig
from edgehaul.geometry import Box, Line, Point
from edgehaul.messages import codec
from edgehaul.messages.payloads import (
    CameraEvent,
    CountEvent,
    EventData,
    TrackEvent,
)
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.zone_events import ObjectEvent, OccupancyEvent, ZoneEvent
from edgehaul.values import Detection
from edgehaul_agent.events.rules import StreamRules
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel
from tests.fakes.walks import Street, square, stream, track

Channel = Literal["detections", "tracks", "counts", "zones"]
TOPICS = DeviceTopics("depot", "gate-3")
INTO = CountingLine(name="in", points=Line(Point(100, 300), Point(100, 0)))
YARD = square(dwell_after_s=1, left_after_s=1, settle_s=0)


def config(*publish: Channel, zones: tuple[ZoneConfig, ...] = (YARD,)) -> StreamConfig:
    return msgspec.structs.replace(stream(*zones), lines=(INTO,), publish=publish)


def arrival(rules: StreamRules, frames: int = 20) -> list[CameraEvent]:
    """Return what is told of an object that comes from the left, and stays in the yard."""
    events: list[CameraEvent] = []
    for frame in range(frames):
        x = min(50 + 20 * frame, 150)
        events += rules.update([track(x, 150, hits=frame + 1)], (), frame / 10)
    return events


@pytest.mark.parametrize(
    ("publish", "kinds"),
    [
        ((), set()),
        (("detections",), set()),
        (("tracks",), {TrackEvent}),
        (("counts",), {CountEvent}),
        (("zones",), {ZoneEvent, OccupancyEvent, ObjectEvent}),
        (("zones", "counts"), {CountEvent, ZoneEvent, OccupancyEvent, ObjectEvent}),
    ],
)
def test_only_the_asked_channels_are_told(publish: tuple[Channel, ...], kinds: set[type]) -> None:
    rules = StreamRules(config(*publish), 1)
    events = arrival(rules)
    assert {type(event) for event in [*events, *rules.close(2.0)]} == kinds


def test_events_of_one_frame_come_in_order() -> None:
    # It is new, over the line and inside of the yard in its first two frames.
    rules = StreamRules(config("tracks", "counts", "zones"), 2)
    assert list(rules.update([track(95, 150, hits=1)], (), 0.0)) == []
    told = [type(e) for e in rules.update([track(130, 150, hits=2)], (), 0.1)]
    assert told == [TrackEvent, CountEvent, ZoneEvent, OccupancyEvent]


def test_rules_are_driven_though_nobody_takes_what_they_tell() -> None:
    rules = StreamRules(config("counts"), 1)
    rules.update([track(50, 150)], (), 0.0)
    (event,) = rules.update([track(150, 150)], (), 0.1)
    assert isinstance(event, CountEvent)


def test_the_end_of_a_stream_ends_lives_and_visits() -> None:
    rules = StreamRules(config("tracks", "zones"), 1)
    arrival(rules, frames=6)
    last = track(150, 150, hits=7)
    life, visit = rules.close(0.6, [last])
    assert isinstance(life, TrackEvent)
    assert life.phase == "end"
    assert isinstance(visit, ZoneEvent)
    assert (visit.phase, visit.reason) == ("exit", "closed")


def test_a_camera_tells_of_its_zones() -> None:
    outbox, workers = MemoryOutbox(), WorkerPool(1, FakeClock())

    def passing(index: int) -> list[Detection]:
        x = 50.0 + 10 * index
        return [Detection(Box(x - 20, 130, x + 20, 170), 0, "parcel", 0.9)]

    made = StreamPipeline(
        config("zones", zones=(square(at=(200, 100)), square("end", at=(380, 100)))),
        source=ListFrames(40),
        model=ScriptedModel(passing),
        outlet=StreamOutlet(outbox, TOPICS, "cam"),
        workers=workers,
        clock=FakeClock(),
    )
    with workers, made:
        made.run(threading.Event())
    events = [e.event for e in outbox.payloads("/events/cam") if isinstance(e, EventData)]
    visits = [(e.zone, e.phase, e.reason) for e in events if isinstance(e, ZoneEvent)]
    assert visits == [
        ("yard", "enter", "crossed"),
        ("yard", "exit", "crossed"),
        ("end", "enter", "crossed"),
        ("end", "exit", "closed"),
    ]
    assert {message.lane for message in outbox.messages} == {"event"}


def test_every_event_survives_its_way_as_a_message() -> None:
    chance = random.Random(5)
    zones = (
        square("a", dwell_after_s=0.5, max_objects=1, settle_s=0.2, left_after_s=1),
        square("b", at=(140, 100), kind="queue", settle_s=0.3),
        square("c", at=(50, 150), kind="dock", settle_s=0.2),
        square("d", side=200, removed_after_s=0.5, settled_after_s=0.5),
    )
    street = Street(msgspec.structs.replace(stream(*zones), lines=(INTO,)), keep_frames=3)
    for _ in range(400):
        first = street.frame // 40
        shown = [number for number in range(first, first + 6) if chance.random() > 0.2]
        street.step(
            track(120 + 25 * (i % 4) + chance.uniform(-2, 2), 150, track_id=i) for i in shown
        )
    events = [event for _, event in street.events]
    assert len({type(event) for event in events}) == 5
    for event in events:
        data = EventData(event=event)
        sent = codec.encode(codec.uncounted(data, topics=TOPICS, captured_at_s=1.0))
        assert codec.decode(sent).data == data
