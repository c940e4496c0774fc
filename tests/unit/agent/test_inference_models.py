from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.device import GpsConfig
from edgehaul.config.recordings import TraceSource
from edgehaul.errors import SpecMismatchError
from edgehaul.geometry import Box
from edgehaul.messages.payloads import AnomalyEvent, EventData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Fix
from edgehaul_agent.inference.engine import Array
from edgehaul_agent.inference.pictures import open_picture_model
from edgehaul_agent.inference.traces import open_trace_model
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from tests.fakes.engines import FakeEngine
from tests.fakes.streams import FakeClock, ListFixes, MemoryOutbox

PICTURE = np.zeros((100, 200, 3), np.uint8)
DETECTOR = ModelSpec(
    task="detect",
    input=ImageInput(width=100, height=50),
    output=OutputSpec(head="edgehaul", labels=("parcel", "pallet"), score_threshold=0.5),
)
CLASSIFIER = ModelSpec(
    task="classify",
    input=ImageInput(width=100, height=50),
    output=OutputSpec(head="classify", labels=("empty", "full"), score_threshold=0.6),
)
TRIPS = ModelSpec(
    task="sequence",
    input=SequenceInput(
        features=("speed_mps", "acceleration_mps2"),
        window=5,
        interval_s=1.0,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
    ),
    output=OutputSpec(
        head="sequence",
        labels=("normal", "harsh_braking"),
        normal_label="normal",
        score_threshold=0.5,
    ),
)


def detector_engine() -> FakeEngine:
    boxes = np.array([[[10, 10, 30, 30], [50, 10, 70, 30], [80, 10, 90, 30]]], np.float32)
    scores = np.array([[[0.9, 0.0], [0.0, 0.3], [0.1, 0.1]]], np.float32)
    return FakeEngine(DETECTOR, [(1, 3, 4), (1, 3, 2)], lambda _tensor: [boxes, scores])


def test_a_detector_gives_uncertain_detections_to_the_tracker_too() -> None:
    model = open_picture_model(detector_engine(), DETECTOR, where="m.onnx")
    found = model.look(PICTURE)
    assert model.gives_objects
    assert model.certain_score == 0.5
    assert [(d.label, round(d.score, 2)) for d in found] == [("parcel", 0.9), ("pallet", 0.3)]
    assert found[0].box == Box(20, 20, 60, 60)


def test_a_stream_may_choose_its_own_threshold() -> None:
    model = open_picture_model(detector_engine(), DETECTOR, where="m.onnx", score_threshold=0.2)
    assert model.certain_score == 0.2
    assert len(model.look(PICTURE)) == 3


@pytest.mark.parametrize(("logits", "labels"), [([0.0, 3.0], ["full"]), ([0.1, 0.0], [])])
def test_a_classifier_judges_the_whole_picture(logits: list[float], labels: list[str]) -> None:
    answer = np.array([logits], np.float32)
    engine = FakeEngine(CLASSIFIER, [(1, 2)], lambda _tensor: [answer])
    model = open_picture_model(engine, CLASSIFIER, where="m.onnx")
    found = model.look(PICTURE)
    assert not model.gives_objects
    assert [d.label for d in found] == labels
    assert all(d.box == Box(0, 0, 200, 100) for d in found)


@pytest.mark.parametrize(
    ("labels", "shapes"),
    [
        pytest.param(("parcel", "pallet", "person"), [(1, 3, 4), (1, 3, 2)], id="class-count"),
        pytest.param(("parcel", "pallet"), [(1, 3, 4)], id="output-missing"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(
    labels: tuple[str, ...], shapes: list[tuple[int, ...]]
) -> None:
    spec = msgspec.structs.replace(
        DETECTOR, output=msgspec.structs.replace(DETECTOR.output, labels=labels)
    )
    engine = FakeEngine(spec, shapes, lambda _tensor: [])
    with pytest.raises(SpecMismatchError, match=r"m\.onnx"):
        open_picture_model(engine, spec, where="m.onnx")


def test_models_cannot_run_on_the_wrong_kind_of_stream() -> None:
    with pytest.raises(SpecMismatchError, match="cannot run on a camera stream"):
        open_picture_model(FakeEngine(TRIPS, [(1, 2)], lambda _tensor: []), TRIPS, where="m.onnx")
    with pytest.raises(SpecMismatchError, match="cannot run on a GPS stream"):
        open_trace_model(detector_engine(), DETECTOR, where="m.onnx")


def test_a_trace_model_finds_the_braking_and_tells_it_once() -> None:
    def judge(tensor: Array) -> list[Array]:
        braking = tensor[0, :, 1].min() < -3
        return [np.array([[0.1, 0.9] if braking else [0.8, 0.2]], np.float32)]

    # 15 m/s to the north, but for 5 m/s off in one second.
    speeds = [15.0] * 20 + [10.0] * 30
    latitude_deg, fixes = 52.0, []
    for second, speed_mps in enumerate(speeds):
        latitude_deg += speed_mps / 111_195
        fixes.append(
            Fix(
                captured_at_s=1000.0 + second,
                latitude_deg=latitude_deg,
                longitude_deg=4.0,
                speed_mps=speed_mps,
                heading_deg=0.0,
            )
        )
    outbox = MemoryOutbox()
    made = GpsPipeline(
        GpsConfig(name="van", source=TraceSource(path="unused.csv"), model="trips"),
        source=ListFixes(fixes),
        model=open_trace_model(FakeEngine(TRIPS, [(1, 2)], judge), TRIPS, where="m.onnx"),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "van-1"), "van"),
        clock=FakeClock(),
    )
    with made:
        made.run(threading.Event())
    (alarm,) = [m for m in outbox.messages if m.lane == "alarm"]
    assert isinstance(alarm.payload, EventData)
    event = alarm.payload.event
    assert isinstance(event, AnomalyEvent)
    assert (event.label, event.model) == ("harsh_braking", "trips")
    assert event.score == pytest.approx(0.9)
    assert event.started_at < "1970-01-01T00:17:00" < event.ended_at
    assert alarm.payload.position is not None
    assert len(outbox.payloads("/positions/van")) == len(fixes)
