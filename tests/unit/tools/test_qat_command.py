"""``edgehaul qat``: a run goes on learning with int8 in the loop, and stays a run as any other."""

import json
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from edgehaul.config.recipe import AnomalyRecipe, DetectorRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection, SplitSection
from edgehaul.errors import UsageError
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset
from edgehaul_tools.export.deployed import load_deployed
from edgehaul_tools.export.run import export_run
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.qat_command import qat
from edgehaul_tools.quantize.saturation import weight_bits_here
from edgehaul_tools.train.continued import FinishedRun, open_run_recipe
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.qat.training import Course, Int8, learn_rounded
from edgehaul_tools.train.run_directory import RUN_FILE, read_run

PLAIN = OptimizerSection(epochs=8, batch=4, learning_rate=1e-2, average_decay=0)
RECIPE = Recipe(
    anomaly=AnomalyRecipe(
        width=16,
        height=16,
        channels=4,
        latent=4,
        threads=1,
        precision="auto",
        augment=AugmentSection(flip=0),
        split=SplitSection(train=0.5, val=0.25, test=0.25),
        optimizer=PLAIN,
    )
)


def write_pictures(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(16):
        image = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        large = cv2.resize(image, (16, 16), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{seed}.png"), large)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small autoencoder that was trained as float."""
    root = tmp_path_factory.mktemp("float")
    follow_recipe(RECIPE, write_pictures(root / "pictures"), root / "run")
    return root / "run"


def names_of(folder: Path) -> list[str]:
    """Return the names of the pictures that nothing has looked at."""
    content = json.loads((folder / "test.json").read_text())
    return [Path(image["file_name"]).name for image in content["images"]]


def invoked(*arguments: object) -> Result:
    result = CliRunner().invoke(qat, [str(v) for v in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_a_run_goes_on_and_is_a_run_as_any_other(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "learnt"
    options = ("--epochs", 2, "--learning-rate", 1e-3, "--weight-bits", 7, "--per-tensor")
    summary = json.loads(invoked(run, "--out", out, *options, "--json").stdout)
    learnt, before = read_run(out), read_run(run)
    assert summary["ranges"] == len(learnt.ranges) > 10
    assert (summary["weight_bits"], summary["per_channel"]) == (7, False)
    assert summary["metrics"] == learnt.metrics
    assert learnt.recipe.training.optimizer.epochs == len(learnt.history) == 2
    assert learnt.recipe.training.optimizer.learning_rate == 1e-3
    assert learnt.recipe.training.precision == "float32"
    assert names_of(out) == names_of(run)
    origin = learnt.origin
    assert origin is not None
    assert (origin.how, origin.run) == ("quantization-aware", "run")
    assert origin.notes == {"weight_bits": "7", "weights": "per tensor", "distill": "0.5"}
    # The same network: its weights have moved, and there are no others.
    old = torch.load(run / "weights.pt", weights_only=True)
    new = torch.load(out / "weights.pt", weights_only=True)
    assert {n: v.shape for n, v in new.items()} == {n: v.shape for n, v in old.items()}
    assert not torch.equal(new["squeeze.weight"], old["squeeze.weight"])
    assert torch.equal(new["encoder.0.1.running_mean"], old["encoder.0.1.running_mean"])
    assert learnt.parameters == before.parameters
    load_deployed(out, learnt)


def test_defaults_are_a_share_of_the_runs_own(run: Path, tmp_path: Path) -> None:
    shown = invoked(run, "--out", tmp_path / "learnt")
    learnt = read_run(tmp_path / "learnt")
    optimizer = learnt.recipe.training.optimizer
    assert optimizer.epochs == PLAIN.epochs / 4
    assert optimizer.learning_rate == pytest.approx(PLAIN.learning_rate / 10)
    assert learnt.origin is not None
    assert learnt.origin.notes["weight_bits"] == str(weight_bits_here())
    assert "a step for each channel" in shown.stdout
    assert "float before" in shown.stdout
    assert f"next: edgehaul export {tmp_path / 'learnt'}" in shown.stdout


def test_the_same_training_twice_learns_the_same(run: Path, tmp_path: Path) -> None:
    given = open_run_recipe(run)
    runs = [learn_rounded(given, tmp_path / name, Int8(), Course(epochs=1)) for name in ("a", "b")]
    assert runs[0].ranges == runs[1].ranges
    assert (tmp_path / "a/weights.pt").read_bytes() == (tmp_path / "b/weights.pt").read_bytes()


def test_the_float_network_may_teach(run: Path, tmp_path: Path) -> None:
    teachers: list[nn.Module] = []

    def taught(task: Task[Any], teacher: nn.Module) -> Task[Any]:
        teachers.append(teacher)
        return task

    learn_rounded(open_run_recipe(run), tmp_path / "out", Int8(), Course(epochs=1), taught=taught)
    weights = torch.load(run / "weights.pt", weights_only=True)
    (teacher,) = teachers
    assert teacher.state_dict().keys() == weights.keys()  # no rounding in it
    assert all(torch.equal(value, weights[name]) for name, value in teacher.state_dict().items())


def test_what_cannot_learn_with_int8_is_refused(run: Path, tmp_path: Path) -> None:
    given = open_run_recipe(run)
    with pytest.raises(UsageError, match="the float run would be replaced"):
        learn_rounded(given, run, Int8())
    for kind, message in (("sequence", "needs no training for int8"), ("generator", "no box")):
        other = msgspec.structs.replace(given.run, kind=kind)
        strange = FinishedRun(given.folder, other, given.recipe, given.dataset)
        with pytest.raises(UsageError, match=message.replace("no box", "not run on a box")):
            learn_rounded(strange, tmp_path / "out", Int8())
    learn_rounded(given, tmp_path / "once", Int8(), Course(epochs=1))
    again = open_run_recipe(tmp_path / "once")
    with pytest.raises(UsageError, match="already"):
        learn_rounded(again, tmp_path / "twice", Int8())


def test_a_damaged_range_in_a_run_is_told(run: Path, tmp_path: Path) -> None:
    learn_rounded(open_run_recipe(run), tmp_path / "learnt", Int8(), Course(epochs=1))
    file = tmp_path / "learnt" / RUN_FILE
    content = json.loads(file.read_text())
    content["ranges"][1]["low"] = 3.5
    file.write_text(json.dumps(content))
    with pytest.raises(Exception, match="a range must hold 0") as caught:
        read_run(tmp_path / "learnt")
    assert "run.json" in str(caught.value)


@pytest.mark.slow
def test_a_detector_learns_and_its_model_carries_the_ranges(tmp_path: Path) -> None:
    generate_conveyor_dataset(tmp_path / "conveyor", 12, 1, width=160, height=120)
    recipe = Recipe(
        detector=DetectorRecipe(
            width=96,
            height=64,
            channels=(4, 4, 8, 8),
            threads=1,
            optimizer=OptimizerSection(epochs=1, batch=4),
        )
    )
    follow_recipe(recipe, tmp_path / "conveyor", tmp_path / "run")
    invoked(tmp_path / "run", "--out", tmp_path / "learnt", "--epochs", 1)
    report = export_run(tmp_path / "learnt", tmp_path / "m.onnx")
    assert max(report.parity.values()) <= 1e-4
    found = learnt_ranges(onnx.load(tmp_path / "m.onnx"))
    assert len(found) == len(read_run(tmp_path / "learnt").ranges)
    assert next(iter(found.values()))[1] == pytest.approx(255, abs=8)  # bytes
