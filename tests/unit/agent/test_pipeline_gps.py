"""GPS streams whose receivers say what cannot be."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.spec import FixFilter, ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.device import GpsConfig
from edgehaul.config.recordings import TraceSource
from edgehaul.messages.payloads import AnomalyEvent, EventData, PositionData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.motion.windows import to_tensor
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.inference.engine import Array
from edgehaul_agent.inference.traces import open_trace_model
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.sources.base import live_clock
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.train.sequence.windows import cut_windows
from tests.fakes.engines import FakeEngine
from tests.fakes.streams import FakeClock, ListFixes, MemoryOutbox

SPEEDS = ModelSpec(
    task="sequence",
    input=SequenceInput(("speed_mps",), 5, 1.0, (0.0,), (1.0,)),
    output=OutputSpec(head="anomaly", score_threshold=20.0),
)


def drive(start_s: float, speeds_mps: Sequence[float]) -> list[Fix]:
    """Return a drive to the north, a fix each second."""
    north_m = np.cumsum(speeds_mps)
    return [
        Fix(
            captured_at_s=start_s + second,
            latitude_deg=52.0 + float(north_m[second]) / 111_195,
            longitude_deg=4.0,
            speed_mps=speed_mps,
            heading_deg=0.0,
        )
        for second, speed_mps in enumerate(speeds_mps)
    ]


def moved_on(fix: Fix, by_s: float) -> Fix:
    return msgspec.structs.replace(fix, captured_at_s=fix.captured_at_s + by_s)


def made(source: ListFixes, clock: FakeClock) -> tuple[GpsPipeline, MemoryOutbox]:
    outbox = MemoryOutbox()
    engine = FakeEngine(SPEEDS, [(1, 1)], lambda t: [np.array([[t.max()]], np.float32)])
    pipeline = GpsPipeline(
        GpsConfig(name="van", source=TraceSource(path="unused.csv"), model="trips"),
        source=source,
        model=open_trace_model(engine, SPEEDS, where="m.onnx", clock=live_clock(source, clock)),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "van-1"), "van"),
        clock=clock,
    )
    return pipeline, outbox


def run(source: ListFixes, clock: FakeClock) -> MemoryOutbox:
    pipeline, outbox = made(source, clock)
    with pipeline:
        pipeline.run(threading.Event())
    return outbox


def validity(outbox: MemoryOutbox) -> list[bool]:
    return [p.valid for p in outbox.payloads("/positions/van") if isinstance(p, PositionData)]


def alarms(outbox: MemoryOutbox) -> list[AnomalyEvent]:
    told = [p.event for p in outbox.payloads("/events/van") if isinstance(p, EventData)]
    return [event for event in told if isinstance(event, AnomalyEvent)]


@pytest.mark.parametrize("name", ["none", "kalman"])
def test_the_box_feeds_its_model_what_it_learnt_from(name: FixFilter) -> None:
    fixes = TruckTrip(seed=4, duration_s=120).fixes
    spec = msgspec.structs.replace(
        SPEEDS,
        input=SequenceInput(
            ("speed_mps", "heading_rate_dps", "step_m"), 8, 1.0, (5, 0, 5), (2, 3, 2), filter=name
        ),
    )
    seen: list[np.ndarray] = []

    def answer(tensor: Array) -> list[Array]:
        seen.append(tensor.copy())
        return [np.zeros((1, 1), np.float32)]

    model = open_trace_model(FakeEngine(spec, [(1, 1)], answer), spec, where="m.onnx")
    for fix in fixes:
        model.judge(fix)
    learnt = cut_windows(LabelledTrace("t", fixes, ()), spec.input).features
    np.testing.assert_array_equal(np.concatenate(seen), to_tensor(learnt, spec.input)[0])
    assert len(seen) > 50


@pytest.mark.parametrize(("live", "lost"), [(True, 1), (False, 29)])
def test_one_fix_from_the_future_does_not_silence_the_box(*, live: bool, lost: int) -> None:
    clock = FakeClock()
    fixes = drive(
        clock.now_s(), [10.0] * 20 + [30.0] * 10 + [10.0] * 30 + [30.0] * 10 + [10.0] * 20
    )
    fixes[5] = moved_on(fixes[5], 1800.0)
    outbox = run(ListFixes(fixes, clock=clock if live else None), clock)
    assert validity(outbox).count(False) == lost
    assert len(alarms(outbox)) == (2 if live else 1)


def test_an_alarm_does_not_last_until_a_clock_that_was_wrong() -> None:
    clock = FakeClock()
    fixes = drive(0.0, [10.0] * 20 + [30.0] * 80)
    wrong = [moved_on(fix, 1800.0) for fix in fixes[:30]]
    first, second = alarms(run(ListFixes([*wrong, *fixes[30:]]), clock))
    assert "1970-01-01T00:30:1" < first.started_at < first.ended_at < "1970-01-01T00:30:3"
    assert second.ended_at == "1970-01-01T00:01:39.000Z"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("captured_at_s", math.nan),
        ("captured_at_s", -math.inf),
        ("captured_at_s", 1e15),
        ("latitude_deg", math.nan),
        ("longitude_deg", math.inf),
    ],
)
def test_fixes_that_no_message_can_hold_are_bad(name: str, value: float) -> None:
    clock = FakeClock()
    fixes = drive(0.0, [10.0] * 20)
    fixes[7] = msgspec.structs.replace(fixes[7], **{name: value})
    pipeline, outbox = made(ListFixes(fixes), clock)
    with pipeline:
        pipeline.run(threading.Event())
    assert validity(outbox) == [True] * 19
    counted = pipeline.metrics.take()
    assert (counted.processed, counted.bad, counted.frames) == (19, 1, 20)
