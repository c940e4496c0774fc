"""`edgehaul train` and `edgehaul export`, from a recipe's file to an ONNX model."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset, generate_truck_dataset
from edgehaul_tools.export.command import export
from edgehaul_tools.train.command import train
from edgehaul_tools.train.follow import split_traces


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


def test_trips_are_divided_and_never_lost() -> None:
    traces = [LabelledTrace(str(n), (), ()) for n in range(10)]
    parts = split_traces(traces, SplitSection())
    assert [len(part) for part in parts] == [6, 2, 2]
    assert sorted(t.name for part in parts for t in part) == sorted(t.name for t in traces)
    assert split_traces(traces, SplitSection()) == parts
    with pytest.raises(DatasetError, match="2 trips"):
        split_traces(traces[:2], SplitSection())
    with pytest.raises(DatasetError, match=r"none is left.*split\.train"):
        split_traces(traces[:4], SplitSection(train=0.1, val=0.45, test=0.45))
