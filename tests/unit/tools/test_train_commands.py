"""`edgehaul train` and `edgehaul export`, from a recipe's file to an ONNX model."""

import json
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import ConfigError, DatasetError, ModelError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.trace_split import split_traces
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset, generate_truck_dataset
from edgehaul_tools.export.command import export
from edgehaul_tools.train.command import train
from edgehaul_tools.train.loop.checkpoint import Checkpoints


def run(command: click.Command, *arguments: object) -> Result:
    result = CliRunner().invoke(command, [str(v) for v in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.slow
def test_a_truck_recipe_is_followed_and_its_model_exported(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "truck", 3, 1, duration_s=600)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sequence: {dataset: truck, hidden: 8, threads: 1}\n")
    summary = json.loads(run(train, recipe, "--out", tmp_path / "run", "--json").stdout)
    assert summary["kind"] == "sequence"
    assert summary["labels"][0] == "normal"
    names = json.loads((tmp_path / "run" / "split.json").read_text())
    assert sorted(len(part) for part in names.values()) == [1, 1, 1]
    report = json.loads(
        run(export, tmp_path / "run", "--out", tmp_path / "m.onnx", "--json").stdout
    )
    assert report["model"] == "m.onnx"
    exported = run(export, tmp_path / "run", "--out", tmp_path / "m.onnx")
    assert "--calib TRACES" in exported.stdout


@pytest.mark.slow
def test_a_conveyor_recipe_leaves_its_split_beside_the_model(tmp_path: Path) -> None:
    generate_conveyor_dataset(tmp_path / "conveyor", 12, 1, width=160, height=120)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "detector:\n"
        "  {width: 96, height: 64, channels: [4, 4, 8, 8], threads: 1,\n"
        "   optimizer: {epochs: 1, batch: 4}}\n"
    )
    with pytest.raises(UsageError, match=r"recipe\.yaml.*--dataset"):
        run(train, recipe, "--out", tmp_path / "run")
    result = run(train, recipe, "--out", tmp_path / "run", "--dataset", tmp_path / "conveyor")
    assert "epoch 1/1" in result.stderr
    assert "edgehaul export" in result.stdout
    parts = [len(read_dataset(tmp_path / "run" / f"{n}.json")) for n in ("train", "val", "test")]
    assert sum(parts) == 12
    assert min(parts) > 0
    exported = run(export, tmp_path / "run", "--out", tmp_path / "m.onnx")
    assert "difference from torch" in exported.stdout
    assert "--calib IMAGES" in exported.stdout


def test_no_part_of_an_earlier_split_stays_and_no_accuracy_is_claimed_without_one(
    tmp_path: Path,
) -> None:
    generate_conveyor_dataset(tmp_path / "conveyor", 4, 1, width=160, height=120)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "detector:\n"
        "  {width: 96, height: 64, channels: [4, 4, 8, 8], threads: 1, dataset: conveyor,\n"
        "   split: {train: 1, val: 0, test: 0}, optimizer: {epochs: 1, batch: 4}}\n"
    )
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "test.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"test\.json.*another split.*--out"):
        run(train, recipe, "--out", tmp_path / "run")
    (tmp_path / "run" / "test.json").unlink()
    result = run(train, recipe, "--out", tmp_path / "run")
    assert "no validation part" in result.stdout
    assert sorted(p.name for p in (tmp_path / "run").glob("t*.json")) == ["train.json"]


PARCELS = (
    "detector:\n"
    "  {width: 96, height: 64, channels: [4, 4, 8, 8], threads: 1, dataset: conveyor,\n"
    "   split: {train: 1, val: 0, test: 0}, optimizer: {epochs: 2, batch: 4}}\n"
)


def test_values_of_the_recipe_are_set_and_a_finished_training_is_not_repeated(
    tmp_path: Path,
) -> None:
    generate_conveyor_dataset(tmp_path / "conveyor", 4, 1, width=160, height=120)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(PARCELS)
    first = run(train, recipe, "--out", out, "--set", "optimizer.epochs=1")
    assert "epoch 1/1" in first.stderr
    weights = (out / "weights.pt").read_bytes()
    again = ("--set", "detector.optimizer.epochs=1", "--resume")
    assert run(train, recipe, "--out", out, *again).stderr == ""
    assert (out / "weights.pt").read_bytes() == weights
    with pytest.raises(UsageError, match=r"another recipe.*--resume"):
        run(train, recipe, "--out", out, "--resume")
    with pytest.raises(ConfigError) as caught:
        run(train, recipe, "--out", out, "--set", "optimizer.epoch=1", "--set", "seed=-1")
    assert [("'epochs'" in fault, "seed" in fault) for fault in caught.value.faults] == [
        (True, False),
        (False, True),
    ]
    with pytest.raises(UsageError, match="--weights is for classifiers"):
        run(train, recipe, "--out", out, "--weights", tmp_path / "weights.pth")


def test_an_unfinished_training_is_not_begun_anew_by_mistake(tmp_path: Path) -> None:
    generate_conveyor_dataset(tmp_path / "conveyor", 4, 1, width=160, height=120)
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(PARCELS)
    Checkpoints(out, "of another training").write({"steps": 1})
    with pytest.raises(UsageError, match=r"unfinished training.*--resume.*remove"):
        run(train, recipe, "--out", out)
    with pytest.raises(UsageError, match="checkpoint is of another training"):
        run(train, recipe, "--out", out, "--resume")
    assert [path.name for path in out.iterdir()] == ["checkpoint.pt"], "no split of this training"


def test_published_weights_are_found_beside_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("classifier: {dataset: pictures, weights: published.pth, width: 32,\n"
                      "  height: 32, threads: 1, optimizer: {epochs: 1, batch: 2},\n"
                      "  split: {train: 1, val: 0, test: 0}}\n")  # fmt: skip
    for number, label in enumerate(("damaged", "intact") * 2):
        (tmp_path / "pictures" / label).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "pictures" / label / f"{number}.png"), pixels)
    with pytest.raises(ModelError, match=r"weights cannot be read.*") as caught:
        run(train, recipe, "--out", tmp_path / "run")
    assert caught.value.where == str(tmp_path / "published.pth")
    with pytest.raises(ModelError) as caught:
        run(train, recipe, "--out", tmp_path / "run", "--weights", tmp_path / "mine.pth")
    assert caught.value.where == str(tmp_path / "mine.pth")


def test_trips_come_in_no_parts_before_they_are_divided(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("sequence: {dataset: truck, split: {source: given}}\n")
    generate_truck_dataset(tmp_path / "truck", 3, 1, duration_s=60)
    with pytest.raises(DatasetError, match="does not come in parts"):
        run(train, recipe, "--out", tmp_path / "run")


@pytest.mark.slow
def test_trips_are_learnt_from_as_their_split_says(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "truck", 4, 1, duration_s=600)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "sequence: {dataset: truck, hidden: 8, threads: 1, optimizer: {epochs: 1},\n"
        "  split: {source: given}}\n"
    )
    names = sorted(path.stem for path in (tmp_path / "truck" / "trips").glob("*.csv"))
    named = {"train": names[2:], "val": names[1:2], "test": names[:1]}
    (tmp_path / "truck" / "split.json").write_text(json.dumps(named))
    run(train, recipe, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "split.json").read_text()) == named


def test_trips_are_divided_and_never_lost() -> None:
    traces = [LabelledTrace(str(n), (), ()) for n in range(10)]
    parts = split_traces(traces, SplitSection())
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(t.name for part in parts for t in part) == sorted(t.name for t in traces)
    assert split_traces(traces, SplitSection()) == parts
    with pytest.raises(DatasetError, match="2 trips"):
        split_traces(traces[:2], SplitSection())
    few = split_traces(traces[:4], SplitSection(train=0.1, val=0.45, test=0.45))
    assert all(few), "one is left to learn from"
