from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import pytest

from edgehaul.config.device import CountingLine, GpsConfig, StreamConfig
from edgehaul.config.recordings import FileSource, TraceSource
from edgehaul.errors import ModelError, SourceError, SpoolError
from edgehaul.geometry import Box, Line, Point
from edgehaul.messages.payloads import (
    CountEvent,
    DetectionsData,
    EventData,
    PositionData,
    TrackEvent,
)
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection, Fix
from edgehaul.virtual.conveyor import PARCEL_LABELS, Conveyor
from edgehaul_agent.outlet import Outbox, StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.streams import FakeClock, ListFixes, ListFrames, MemoryOutbox, ScriptedModel

TOPICS = DeviceTopics("depot", "gate-3")
MIDDLE = CountingLine(name="in", points=Line(Point(320, 480), Point(320, 0)))


def stream_config(**changes: object) -> StreamConfig:
    fields: dict[str, object] = {
        "name": "dock",
        "model": "parcels",
        "source": FileSource(path="unused.mp4"),
        "lines": (MIDDLE,),
    }
    return StreamConfig(**(fields | changes))


def pipeline(
    source: ListFrames, model: ScriptedModel, outbox: Outbox, **changes: object
) -> StreamPipeline:
    return StreamPipeline(
        stream_config(**changes),
        source=source,
        model=model,
        outlet=StreamOutlet(outbox, TOPICS, "dock"),
        workers=WorkerPool(1, FakeClock()),
        clock=FakeClock(),
    )


def run(made: StreamPipeline | GpsPipeline, stop: threading.Event | None = None) -> None:
    with getattr(made, "workers", nullcontext()), made:
        made.run(stop or threading.Event())


def one_parcel(index: int) -> list[Detection]:
    """A parcel that moves 20 pixels a frame, from the left edge on."""
    x = 50 + 20 * index
    return [Detection(Box(x - 40, 100.123456, x + 40, 180), 0, "parcel", 0.9)] if x < 600 else []


def test_every_frame_is_told_and_a_parcel_lives_crosses_and_ends() -> None:
    outbox = MemoryOutbox()
    made = pipeline(ListFrames(40), ScriptedModel(one_parcel), outbox)
    run(made)
    detections = outbox.payloads("/detections/dock")
    assert [d.frame for d in detections if isinstance(d, DetectionsData)] == list(range(40))
    first = detections[0]
    assert isinstance(first, DetectionsData)
    assert (first.width, first.height, first.model) == (640, 480, "parcels")
    assert first.objects[0].track_id == 1
    assert first.objects[0].box == Box(10, 100.12, 90, 180)
    events = [e.event for e in outbox.payloads("/events/dock") if isinstance(e, EventData)]
    counts = [e for e in events if isinstance(e, CountEvent)]
    lives = [e for e in events if isinstance(e, TrackEvent)]
    assert [(c.direction, c.label, c.track_id) for c in counts] == [("forward", "parcel", 1)]
    assert (lives[0].phase, lives[-1].phase) == ("new", "end")
    assert {life.track_id for life in lives} == {1}
    health = made.metrics.take()
    assert (health.frames, health.processed, health.dropped, health.bad) == (40, 40, 0, 0)


def test_messages_go_into_their_lanes_with_their_capture_time() -> None:
    outbox = MemoryOutbox()
    run(pipeline(ListFrames(40), ScriptedModel(one_parcel), outbox))
    lanes = Counter((m.topic.split("/")[4], m.lane, m.subject) for m in outbox.messages)
    assert set(lanes) == {("detections", "telemetry", "dock"), ("events", "event", "dock")}
    assert outbox.messages[0].captured_at_s == 1000.0


@pytest.mark.parametrize(
    ("publish", "kinds"),
    [
        ((), set()),
        (("counts",), {CountEvent}),
        (("tracks",), {TrackEvent}),
        (("tracks", "counts"), {TrackEvent, CountEvent}),
    ],
)
def test_only_the_asked_channels_are_published(publish: tuple[str, ...], kinds: set[type]) -> None:
    outbox = MemoryOutbox()
    run(pipeline(ListFrames(40), ScriptedModel(one_parcel), outbox, publish=publish))
    assert {type(m.payload.event) for m in outbox.messages} == kinds


def test_uncertain_detections_are_not_told() -> None:
    outbox = MemoryOutbox()
    faint = [Detection(Box(0, 0, 50, 50), 0, "parcel", 0.3)]
    run(pipeline(ListFrames(5), ScriptedModel(lambda _index: faint), outbox))
    assert all(not d.objects for d in outbox.payloads("/detections/dock"))


def test_a_parcel_is_counted_across_missed_frames_and_bad_ones() -> None:
    outbox = MemoryOutbox()
    source = ListFrames(40, skip=[12, 13])
    model = ScriptedModel(lambda i: [] if i in {11, 14, 15} else one_parcel(i))
    made = pipeline(source, model, outbox, publish=("counts",))
    run(made)
    (message,) = outbox.messages
    assert message.payload.event.totals == {"forward/parcel": 1}
    assert made.metrics.take().bad == 2


def test_a_frame_that_cannot_be_used_is_counted_not_fatal() -> None:
    outbox = MemoryOutbox()
    made = pipeline(ListFrames(10), ScriptedModel(one_parcel, unusable=[3]), outbox)
    run(made)
    health = made.metrics.take()
    assert (health.frames, health.processed, health.bad) == (10, 9, 1)


def test_a_source_that_fails_is_told_after_its_last_frame() -> None:
    def unplug(index: int) -> None:
        if index == 7:
            raise SourceError("unplugged", where="camera")

    outbox = MemoryOutbox()
    made = pipeline(ListFrames(40, before=unplug), ScriptedModel(one_parcel), outbox)
    with pytest.raises(SourceError, match="unplugged"):
        run(made)
    assert len(outbox.payloads("/detections/dock")) == 7
    assert outbox.messages[-1].payload.event.phase == "end"


def test_a_model_that_fails_ends_the_stream() -> None:
    def script(index: int) -> Sequence[Detection]:
        raise ModelError(f"frame {index}: out of memory")

    source = ListFrames(10_000)
    with pytest.raises(ModelError, match="frame 0"):
        run(pipeline(source, ScriptedModel(script), MemoryOutbox()))
    assert source.given <= 3
    assert not source.is_open


def test_a_full_spool_ends_the_stream_too() -> None:
    class ClosedOutbox(MemoryOutbox):
        def put(self, *_args: object, **_more: object) -> None:
            raise SpoolError("the spool is closed")

    with pytest.raises(SpoolError):
        run(pipeline(ListFrames(100), ScriptedModel(one_parcel), ClosedOutbox()))


def test_stopping_finishes_what_was_taken() -> None:
    stop = threading.Event()
    source = ListFrames(10_000, before=lambda index: stop.set() if index == 20 else None)
    outbox = MemoryOutbox()
    run(pipeline(source, ScriptedModel(one_parcel), outbox), stop)
    assert source.given == 21
    assert len(outbox.payloads("/detections/dock")) == 21
    assert outbox.messages[-1].payload.event.phase == "end"


def test_latest_drops_and_counts_what_the_model_is_too_slow_for() -> None:
    all_read = threading.Event()

    def script(index: int) -> Sequence[Detection]:
        all_read.wait(10)
        return one_parcel(index)

    source = ListFrames(50, before=lambda index: all_read.set() if index == 49 else None)
    made = pipeline(source, ScriptedModel(script), MemoryOutbox(), policy="latest")
    run(made)
    health = made.metrics.take()
    assert health.frames == 50
    assert health.processed + health.dropped == 50
    assert health.dropped >= 40


@pytest.mark.parametrize("seed", [1, 2])
def test_the_virtual_conveyor_is_counted_exactly(seed: int) -> None:
    """Boxes tremble, a tenth is missed, and a tenth has the wrong label."""
    frames = 700
    conveyor = Conveyor(seed=seed, width=160, height=120)
    random = np.random.default_rng(seed)

    def script(index: int) -> list[Detection]:
        found = []
        for parcel in conveyor.frame(index).truth:
            if random.random() < 0.1:
                continue
            label = parcel.label if random.random() > 0.1 else str(random.choice(PARCEL_LABELS))
            edges = np.array([parcel.box.x1, parcel.box.y1, parcel.box.x2, parcel.box.y2])
            box = Box(*(edges + random.normal(0, 0.5, 4)))
            found.append(Detection(box, PARCEL_LABELS.index(label), label, 0.9))
        return found

    outbox = MemoryOutbox()
    lines = (CountingLine(name="in", points=conveyor.counting_line()),)
    model = ScriptedModel(script)
    run(pipeline(ListFrames(frames), model, outbox, lines=lines, publish=("counts",)))
    true = {f"forward/{k}": n for k, n in conveyor.true_crossings(0, frames - 1).items() if n}
    assert outbox.messages[-1].payload.event.totals == true
    assert sum(true.values()) > 10


def test_positions_are_told_at_their_rate_with_their_validity() -> None:
    fixes = [
        Fix(captured_at_s=1000.0 + i, latitude_deg=52.0 + 1e-5 * i, longitude_deg=4.0)
        for i in range(30)
    ]
    fixes[10] = Fix(captured_at_s=1010.0, latitude_deg=10.0, longitude_deg=4.0)
    outbox = MemoryOutbox()
    config = GpsConfig(name="van", source=TraceSource(path="unused.csv"), publish_every_s=5)
    made = GpsPipeline(
        config,
        source=ListFixes(fixes),
        model=None,
        outlet=StreamOutlet(outbox, TOPICS, "van"),
        clock=FakeClock(),
    )
    run(made)
    told = [p for p in outbox.payloads("/positions/van") if isinstance(p, PositionData)]
    assert [p.fix.captured_at_s for p in told] == [1000, 1005, 1010, 1015, 1020, 1025]
    assert [p.valid for p in told] == [True, True, False, True, True, True]
    assert made.metrics.take().processed == 30
