"""A training that multiplies in bfloat16, on any processor."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgehaul.config.recipe import DetectorRecipe, Multiplication
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.geometry import Box
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.train.detector.training import train_detector
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import (
    EpochReport,
    has_bfloat16,
    multiplies_in_bfloat16,
)
from edgehaul_tools.train.run_directory import WEIGHTS_FILE
from tests.fakes.tasks import CurveTask, Points

SECTION = OptimizerSection(epochs=8, batch=8, learning_rate=0.02)


class StoppedError(Exception):
    """The training was stopped from outside."""


class WatchedTask(CurveTask):
    """A curve that notes what its network multiplies in."""

    def __init__(self) -> None:
        super().__init__(64)
        self.seen: set[torch.dtype] = set()

    def loss(self, network: nn.Module, batch: Points) -> Tensor:
        def note(layer: nn.Module, _given: object, answer: Tensor) -> None:
            if layer.training:  # figures of the averaged weights are taken in float32
                self.seen.add(answer.dtype)

        linear = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
        with linear.register_forward_hook(note):
            return super().loss(network, batch)


def plan(precision: Multiplication, folder: Path | None = None, *, resume: bool = False) -> Plan:
    return Plan(
        SECTION, threads=1, precision=precision, folder=folder, resume=resume, checkpoint_s=0.0
    )


@pytest.mark.parametrize(
    ("precision", "here"), [("bfloat16", True), ("float32", False), ("auto", has_bfloat16())]
)
def test_a_recipe_says_what_is_multiplied_in(precision: Multiplication, *, here: bool) -> None:
    assert multiplies_in_bfloat16(precision) == here
    task = WatchedTask()
    fit(task, plan(precision))
    assert task.seen == {torch.bfloat16 if here else torch.float32}


def test_in_bfloat16_the_curve_is_learnt_and_the_weights_are_float32() -> None:
    fitted = fit(WatchedTask(), plan("bfloat16"))
    assert fitted.metrics["error"] < 0.3, "answering 0 alone makes it 0.52"
    full = fit(WatchedTask(), plan("float32"))
    assert fitted.metrics["error"] == pytest.approx(full.metrics["error"], abs=0.02)
    kept = [value for value in fitted.network.state_dict().values() if value.is_floating_point()]
    assert {value.dtype for value in kept} == {torch.float32}


def test_in_bfloat16_a_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    def stop(report: EpochReport) -> None:
        if report.epoch >= 2 and (tmp_path / CHECKPOINT_FILE).exists():
            raise StoppedError

    whole = fit(WatchedTask(), plan("bfloat16"))
    with pytest.raises(StoppedError):
        fit(WatchedTask(), plan("bfloat16", tmp_path), stop)
    resumed = fit(WatchedTask(), plan("bfloat16", tmp_path, resume=True))
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_detector_learns_in_bfloat16(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    samples = []
    for number in range(16):
        image = random.integers(90, 130, (64, 96, 3), dtype=np.uint8)
        x, y = (int(v) for v in random.integers(2, 30, 2))
        image[y : y + 30, x : x + 30] = 230
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), image)
        box = Box.from_xywh(float(x), float(y), 30.0, 30.0)
        samples.append(Sample(path, "g", 96, 64, (TrueBox(box, 0),)))
    data = DetectionDataset(tmp_path, ("bright",), tuple(samples))
    recipe = DetectorRecipe(
        width=96,
        height=64,
        channels=(8, 8, 16, 16),
        precision="bfloat16",
        optimizer=OptimizerSection(epochs=4, batch=4, learning_rate=8e-3),
        threads=1,
    )
    run = train_detector(recipe, data, data.subset(()), tmp_path / "run")
    assert run.history[-1].loss < run.history[0].loss
    weights = torch.load(tmp_path / "run" / WEIGHTS_FILE, weights_only=True)
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float32}
