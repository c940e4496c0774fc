from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.errors import UsageError
from edgehaul_agent.benching.gauge import Gauge, Sample
from edgehaul_agent.benching.job import STAGES, Limits, Measured
from edgehaul_agent.benching.process import peak_resident_mib, resident_mib, thread_times
from edgehaul_agent.benching.report import AgentBench, Round, figures, lines_of, stages_ms
from edgehaul_agent.benching.runs import stages_between
from edgehaul_agent.benching.stopwatch import Stopwatch
from edgehaul_agent.benching.timed import TimedEngine, TimedModel
from edgehaul_agent.inference.engine import Array
from edgehaul_agent.inference.pictures import open_picture_model
from tests.fakes.engines import FakeEngine
from tests.fakes.streams import FakeClock

SPEC = ModelSpec(
    "detect",
    ImageInput(32, 32, layout="nhwc", dtype="uint8"),
    OutputSpec("edgehaul", ("parcel",), score_threshold=0.5),
)


def burn(cpu_s: float) -> None:
    """Use so much processor time of this thread."""
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        pass


def measured(
    frames: int = 100, cpu_s: float = 1.0, stages_s: dict[str, float] | None = None
) -> Measured:
    return Measured(
        frames={"a": frames // 2, "b": frames - frames // 2},
        wall_s=2.0,
        cpu_s=cpu_s,
        stages_s=stages_s or {},
        latency_p50_ms=10.0,
    )


def staged(**stages_s: float) -> Measured:
    every = {stage: stages_s.get(stage, 0.0) for stage in (*STAGES, "rest")}
    return measured(cpu_s=sum(every.values()), stages_s=every)


class TestStopwatch:
    def test_a_stage_is_not_charged_for_what_is_measured_inside_it(self) -> None:
        watch = Stopwatch()

        def outer() -> None:
            burn(0.02)
            watch.measure("inner", burn, 0.06)
            watch.measure("inner", burn, 0.06)

        watch.measure("outer", outer)
        spent_s = watch.totals_s()
        assert spent_s["inner"] / spent_s["outer"] == pytest.approx(6, rel=0.3)

    def test_waiting_costs_nothing_and_threads_add_up(self) -> None:
        watch = Stopwatch()
        threads = [
            threading.Thread(target=watch.measure, args=("burn", burn, 0.03)) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            watch.measure("wait", thread.join)
        spent_s = watch.totals_s()
        assert spent_s["wait"] < 0.2 * spent_s["burn"]
        assert spent_s["burn"] >= 0.09

    def test_what_fails_is_charged_too(self) -> None:
        watch = Stopwatch()

        def failing() -> None:
            burn(0.01)
            raise ValueError("by the test")

        with pytest.raises(ValueError, match="by the test"):
            watch.measure("run", failing)
        assert watch.totals_s()["run"] >= 0.01


def test_what_the_engine_burns_is_charged_to_the_model_and_nothing_else() -> None:
    watch = Stopwatch()

    def answer(tensor: Array) -> list[Array]:
        del tensor
        burn(0.02)
        return [np.array([[[2, 2, 20, 20]]], np.float32), np.array([[[0.9]]], np.float32)]

    engine = TimedEngine(FakeEngine(SPEC, [(1, 1, 4), (1, 1, 1)], answer), watch)
    model = TimedModel(open_picture_model(engine, SPEC, where="model"), watch)
    canvas = model.canvas()
    for _ in range(5):
        placement = canvas.place(np.zeros((24, 48, 3), np.uint8))
        assert len(model.judge(canvas, placement)) == 1
    spent_s = watch.totals_s()
    assert spent_s["run"] / sum(spent_s.values()) > 0.8
    assert spent_s["run"] >= 0.1
    assert set(spent_s) == {"canvas", "run", "head"}


class TestStages:
    def sample(self, cpu_s: float, **details_s: float) -> Sample:
        return Sample(0.0, cpu_s, {}, details_s, 0.0)

    def test_threads_of_libraries_are_decoders_unless_they_stay(self) -> None:
        first = self.sample(
            1.0, **{"threads: python": 1.0, "threads: runtime": 0.0, "threads: delivery": 0.0}
        )
        times = {"threads: python": 5.0, "threads: runtime": 2.0, "threads: delivery": 0.5}
        last = self.sample(9.0, decode=1.0, run=1.0, **times)
        stages_s = stages_between(first, last)
        assert stages_s["decode"] == pytest.approx(1.0 + (8.0 - 4.0 - 2.0))
        assert stages_s["run"] == pytest.approx(1.0 + 2.0)
        assert stages_s["delivery"] == pytest.approx(0.5)
        assert sum(stages_s.values()) == pytest.approx(8.0)

    def test_without_stopwatches_there_are_none(self) -> None:
        assert stages_between(self.sample(1.0), self.sample(2.0)) == {}

    def test_stages_are_parts_of_what_a_frame_took_without_stopwatches(self) -> None:
        one = Round(
            ideal=measured(cpu_s=0.5), agent=measured(cpu_s=1.0), staged=staged(run=1.5, rest=0.5)
        )
        spent_ms = stages_ms([one])
        assert spent_ms["run"] == pytest.approx(7.5)
        assert sum(spent_ms.values()) == pytest.approx(10.0)


class TestGauge:
    def test_it_measures_from_the_warm_up_to_the_end_of_the_first_stream(self) -> None:
        clock = FakeClock()
        gauge = Gauge(Limits(frames=5, warm_up_frames=2), 1, clock)
        for number in range(5):
            assert gauge.begin(number)
            gauge.take("a", float(number), clock.monotonic_s())
            clock.sleep(1.0)
            taken_at_s = gauge.finish("a", float(number))
            assert (taken_at_s is None) == (number < 2)
            if taken_at_s is not None:
                gauge.durable(taken_at_s)
        assert not gauge.begin(5)
        first, last = gauge.window
        assert last.frames["a"] - first.frames["a"] == 3
        assert last.wall_s - first.wall_s == pytest.approx(3.0)
        assert gauge.percentiles_ms() == (pytest.approx(1000), pytest.approx(1000))

    def test_time_limits_count_from_the_warm_up(self) -> None:
        clock = FakeClock()
        gauge = Gauge(Limits(duration_s=2.5, warm_up_frames=1), 1, clock)
        number = 0
        while gauge.begin(number):
            number += 1
            gauge.finish("a")
            clock.sleep(1.0)
        assert number == 4

    def test_a_run_that_is_over_at_once_is_told(self) -> None:
        with pytest.raises(UsageError, match="before anything could be measured"):
            _ = Gauge(Limits(frames=5), 1, FakeClock()).window


def test_the_process_is_read() -> None:
    assert 0 < resident_mib() <= peak_resident_mib()
    before_s = thread_times().named_s[threading.current_thread().name]
    burn(0.05)
    after_s = thread_times().named_s[threading.current_thread().name]
    assert after_s - before_s >= 0.03


def report(change: Callable[[dict[str, object]], None] = lambda _fields: None) -> AgentBench:
    rounds = [
        Round(
            ideal=measured(cpu_s=part, stages_s={"run": 0.3}),
            agent=measured(cpu_s=1.0),
            staged=staged(decode=0.2, run=0.5, rest=0.3),
        )
        for part in (0.6, 0.8, 0.7)
    ]
    fields: dict[str, object] = {
        "model": "parcels 1.0.0",
        "variant": "int8",
        "runtime": "onnxruntime",
        "source": "virtual camera",
        "delivery": "the spool alone, no broker was named",
        "streams": 2,
        "workers": 2,
        "rate_fps": 0.0,
        "rounds": 3,
        "frames": 100,
        "dropped_frames": 0,
        "stages_ms_per_frame": stages_ms(rounds),
        "load_average": 0.5,
        **figures(rounds),
    }
    change(fields)
    return msgspec.convert(fields, AgentBench)


def test_the_table_shows_medians_spreads_and_where_results_went() -> None:
    text = "\n".join(lines_of(report()))
    assert "efficiency            0.700 (0.600 to 0.800)" in text
    assert "frames a second       50.0 (streams 25.0 to 25.0)" in text
    assert "run the model                    5.000 ms  50.0 %" in text
    assert "the spool alone, no broker was named" in text
    assert "decode, model alone   4.000 + 3.000 ms" in text


def test_the_report_survives_json() -> None:
    one = report()
    assert msgspec.json.decode(msgspec.json.encode(one), type=AgentBench) == one
