"""The loop of every training."""

import csv
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.loader import made_ahead
from edgehaul_tools.train.loop.optimization import EpochReport
from tests.fakes.tasks import CurveTask

SECTION = OptimizerSection(epochs=6, batch=8, learning_rate=0.02)
PLAN = Plan(SECTION, threads=1)


def assert_equal(first: nn.Module, second: nn.Module) -> None:
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_a_training_learns_and_reports_every_epoch() -> None:
    reports: list[EpochReport] = []
    section = msgspec.structs.replace(SECTION, epochs=40, average_decay=0.9)
    fitted = fit(CurveTask(), Plan(section, threads=1), reports.append)
    assert [r.epoch for r in reports] == list(range(1, 41))
    assert reports[-1].measure == "error"
    assert fitted.metrics["error"] == reports[-1].value == fitted.history[-1].value
    assert fitted.metrics["error"] < 0.1 < reports[0].loss
    assert not fitted.network.training
    assert reports[-1].learning_rate < reports[10].learning_rate


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second = (fit(CurveTask(dropout=0.5), PLAN).network for _ in range(2))
    assert_equal(first, second)


@pytest.mark.parametrize("loaders", [1, 3])
def test_batches_come_in_their_order_whoever_makes_them(loaders: int) -> None:
    def make(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number**2

    made = list(made_ahead(make, range(20), loaders))
    assert made == [(n, n**2) for n in range(20)]


def test_no_more_batches_are_made_ahead_than_are_needed_soon() -> None:
    made: list[int] = []
    batches = made_ahead(made.append, range(100), 2)
    next(batches)
    time.sleep(0.05)
    assert len(made) <= 4
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_what_a_loader_raises_is_raised_at_its_turn() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise ModelError("picture 3 is broken")
        return number

    batches = made_ahead(make, range(10), 2)
    assert [next(batches)[1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ModelError, match="picture 3"):
        next(batches)


def test_a_loss_that_is_no_number_is_told_with_its_batch_and_cause() -> None:
    task = CurveTask(broken=5)
    epoch_one = np.array_split(task.order(1), 4)
    batch = next(n for n, part in enumerate(epoch_one, start=1) if 5 in part)
    expected = rf"loss became nan.*epoch 1, batch {batch} of 4.*point 5.*batch itself"
    with pytest.raises(ModelError, match=expected):
        fit(task, PLAN)


def test_a_training_that_explodes_names_a_layer() -> None:
    section = msgspec.structs.replace(SECTION, learning_rate=1e30, gradient_norm=0.0, warmup=0.0)
    with pytest.raises(ModelError, match=r"layer|weights") as caught:
        fit(CurveTask(), Plan(section, threads=1, precision="float32"))
    assert "learning_rate" in caught.value.remedy


@pytest.mark.parametrize("algorithm", ["adamw", "sgd"])
def test_weights_that_the_last_step_spoils_are_no_result(tmp_path: Path, algorithm: str) -> None:
    section = OptimizerSection(
        algorithm=algorithm, epochs=1, batch=32, learning_rate=1e38, average_decay=0.0
    )
    with pytest.raises(ModelError, match=r"after step 1 of 1.*epoch 1, batch 1 of 1.*point"):
        fit(CurveTask(), Plan(section, threads=1, folder=tmp_path, checkpoint_s=0.0))
    assert not list(tmp_path.iterdir()), "neither figures nor a checkpoint"


def test_patience_stops_early_and_keeps_the_best_weights() -> None:
    section = msgspec.structs.replace(
        SECTION, epochs=60, patience=3, learning_rate=0.2, average_decay=0.0, warmup=0.0
    )
    task = CurveTask()
    fitted = fit(task, Plan(section, threads=1))
    values = [record.value for record in fitted.history if record.value is not None]
    best = int(np.argmin(values))
    assert len(values) == best + 4 < 60
    assert task.evaluate(fitted.network)["error"] == fitted.metrics["error"] == values[best]


def test_patience_without_a_validation_part_is_refused() -> None:
    section = msgspec.structs.replace(SECTION, patience=2)
    with pytest.raises(UsageError, match=r"split\.val"):
        fit(CurveTask(with_validation=False), Plan(section, threads=1))


def test_the_figures_of_every_epoch_are_in_a_table(tmp_path: Path) -> None:
    fitted = fit(CurveTask(), Plan(SECTION, threads=1, folder=tmp_path, evaluate_every=3))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 7))
    assert [bool(row["error"]) for row in rows] == [False, False, True] * 2
    assert float(rows[-1]["loss"]) == fitted.history[-1].loss
