"""Timing: in turns, by the median, within a budget, with as many threads as the agent has."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul_agent.inference.autotune import (
    FEW_ROUNDS,
    MAX_ROUNDS,
    thread_counts,
    time_alone,
    time_shared,
)
from edgehaul_agent.inference.engine import Array
from tests.fakes.engines import FakeEngine

SPEC = ModelSpec("detect", ImageInput(32, 32), OutputSpec("edgehaul", ("parcel",)))
TENSOR = np.zeros((1, 32, 32, 3), np.uint8)


class Time:
    """Stands still but for what engines take."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def engine(self, name: str, *takes_ms: float) -> FakeEngine:
        """Return an engine whose runs take these times, over and over."""
        times = itertools.cycle(takes_ms)

        def answer(_: Array) -> list[Array]:
            self.now_s += next(times) / 1000
            self.order.append(name)
            return []

        return FakeEngine(SPEC, [], answer)


def test_the_median_counts_and_an_outlier_does_not() -> None:
    time = Time()
    engines = {
        "even": time.engine("even", 50),
        "odd": time.engine("odd", 40, 40, 40, 2000, 40, 40, 40),
    }
    found = time_shared(engines, TENSOR, workers=1, budget_s=60, timer=time)
    assert found["even"] == pytest.approx(50)
    assert found["odd"] == pytest.approx(40)
    assert len(time.order) == 2 * (MAX_ROUNDS + 1)
    assert time.order[:6] == ["even", "odd"] * 3


def test_what_is_far_behind_is_left_out() -> None:
    time = Time()
    engines = {"slow": time.engine("slow", 90), "fast": time.engine("fast", 50)}
    found = time_shared(engines, TENSOR, workers=1, budget_s=60, timer=time)
    assert found == {"slow": pytest.approx(90), "fast": pytest.approx(50)}
    assert (time.order.count("slow"), time.order.count("fast")) == (4, MAX_ROUNDS + 1)


def test_short_runs_are_repeated_within_a_turn() -> None:
    time = Time()
    found = time_alone({1: time.engine("quick", 2)}, TENSOR, budget_s=60, timer=time)
    assert found == {1: pytest.approx(2)}
    assert len(time.order) == 1 + 20 * FEW_ROUNDS


def test_the_budget_ends_it_and_each_was_measured() -> None:
    time = Time()
    engines = {name: time.engine(name, 4000) for name in ("a", "b", "c")}
    found = time_shared(engines, TENSOR, workers=1, budget_s=10, timer=time)
    assert set(found) == set(engines)
    assert time.now_s == 24  # each once to begin with, and once for the figure


def test_as_many_threads_run_as_the_agent_has_workers() -> None:
    together = threading.Barrier(3, timeout=20)

    def answer(_: Array) -> list[Array]:
        together.wait()
        return []

    found = time_shared({"x": FakeEngine(SPEC, [], answer)}, TENSOR, workers=3, budget_s=0.01)
    assert found["x"] > 0
    assert not together.broken


@pytest.mark.parametrize(
    ("cores", "counts"),
    [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))],
)
def test_threads_up_to_all_processors_are_tried(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts
