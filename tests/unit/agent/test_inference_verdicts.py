"""Models that score how unusual something is, and models that answer with numbers."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.device import GpsConfig
from edgehaul.config.recordings import TraceSource
from edgehaul.errors import SpecMismatchError
from edgehaul.messages.payloads import AnomalyEvent, EventData, ForecastEvent
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Fix
from edgehaul_agent.inference.engine import Array
from edgehaul_agent.inference.pictures import open_picture_model
from edgehaul_agent.inference.traces import open_trace_model
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from tests.fakes.engines import FakeEngine
from tests.fakes.streams import FakeClock, ListFixes, MemoryOutbox

DARK, BRIGHT = np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 200, np.uint8)
PICTURES = ModelSpec(
    task="anomaly",
    input=ImageInput(width=32, height=32, resize="stretch"),
    output=OutputSpec(head="anomaly", score_threshold=50.0),
)
TRIPS = ModelSpec(
    task="sequence",
    input=SequenceInput(
        features=("speed_mps",), window=5, interval_s=1.0, mean=(0.0,), std=(1.0,), hop=5
    ),
    output=OutputSpec(head="anomaly", score_threshold=10.0),
)
FORECAST = msgspec.structs.replace(
    TRIPS, output=OutputSpec(head="regress", labels=("forward_m", "left_m"), horizon_s=5.0)
)


def fixes(speeds_mps: list[float]) -> list[Fix]:
    """Return a drive to the north, a fix each second."""
    latitude_deg, made = 52.0, []
    for second, speed_mps in enumerate(speeds_mps):
        latitude_deg += speed_mps / 111_195
        made.append(
            Fix(
                captured_at_s=1000.0 + second,
                latitude_deg=latitude_deg,
                longitude_deg=4.0,
                speed_mps=speed_mps,
                heading_deg=0.0,
            )
        )
    return made


def events_of(spec: ModelSpec, engine: FakeEngine, speeds_mps: list[float]) -> list[EventData]:
    outbox = MemoryOutbox()
    pipeline = GpsPipeline(
        GpsConfig(name="van", source=TraceSource(path="unused.csv"), model="trips"),
        source=ListFixes(fixes(speeds_mps)),
        model=open_trace_model(engine, spec, where="m.onnx"),
        outlet=StreamOutlet(outbox, DeviceTopics("site", "box"), "van"),
        clock=FakeClock(),
    )
    with pipeline:
        pipeline.run(threading.Event())
    return [p for p in outbox.payloads("/events/van") if isinstance(p, EventData)]


@pytest.mark.parametrize("task_head", ["anomaly", "autoencoder"])
def test_an_unusual_picture_is_one_detection_that_covers_it(task_head: str) -> None:
    spec, shape, answer = PICTURES, (1, 1), lambda t: [np.array([[t.mean()]], np.float32)]
    if task_head == "autoencoder":  # rebuilds everything as black: the brighter, the stranger
        output = OutputSpec(head="autoencoder", score_threshold=2500.0)
        spec, shape = msgspec.structs.replace(PICTURES, output=output), (1, 32, 32, 3)

        def answer(tensor: Array) -> list[Array]:
            return [np.zeros(tensor.shape, np.float32)]

    model = open_picture_model(FakeEngine(spec, [shape], answer), spec, where="m.onnx")
    assert not model.gives_objects
    assert model.look(DARK) == ()
    (found,) = model.look(BRIGHT)
    assert found.label == "anomaly"
    assert (found.box.x2, found.box.y2) == (60, 40)
    # Four times (autoencoder: 16 times) the threshold.
    assert found.score == pytest.approx(0.8 if task_head == "anomaly" else 40_000 / 42_500)


def test_a_score_that_is_no_number_is_no_anomaly() -> None:
    engine = FakeEngine(PICTURES, [(1, 1)], lambda _t: [np.array([[np.nan]], np.float32)])
    assert open_picture_model(engine, PICTURES, where="m.onnx").look(BRIGHT) == ()


def test_an_unusual_stretch_of_a_trip_is_one_alarm() -> None:
    engine = FakeEngine(TRIPS, [(1, 1)], lambda t: [np.array([[t.max()]], np.float32)])
    (told,) = events_of(TRIPS, engine, [5.0] * 20 + [30.0] * 10 + [5.0] * 20)
    assert isinstance(told.event, AnomalyEvent)
    assert told.event.label == "anomaly"
    assert told.event.score == pytest.approx(0.75)
    assert told.event.started_at < told.event.ended_at


def test_a_forecast_comes_with_the_position_it_starts_from() -> None:
    def answer(tensor: Array) -> list[Array]:
        return [np.array([[tensor[0, -1, 0] * 5, 0.0]], np.float32)]

    told = events_of(FORECAST, FakeEngine(FORECAST, [(1, 2)], answer), [8.0] * 12)
    assert len(told) == 2  # one for each whole window
    for data in told:
        assert isinstance(data.event, ForecastEvent)
        assert data.event.values == {"forward_m": 40.0, "left_m": 0.0}
        assert data.event.horizon_s == 5.0
        assert data.position is not None


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        pytest.param(TRIPS, (1, 2), id="two-scores"),
        pytest.param(FORECAST, (1, 3), id="a-value-without-a-name"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(spec: ModelSpec, shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecMismatchError, match=r"m\.onnx"):
        open_trace_model(FakeEngine(spec, [shape], lambda _t: []), spec, where="m.onnx")
