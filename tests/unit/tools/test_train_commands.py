"""`edgehaul train` and `edgehaul export`, from a recipe's file to an ONNX model."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import ConfigError, DatasetError, ModelError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.trace_split import split_traces
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset, generate_truck_dataset
from edgehaul_tools.export.command import export
from edgehaul_tools.train.command import train
from edgehaul_tools.train.loop.checkpoint import Checkpoints
from edgehaul_tools.train.run_directory import RUN_FILE, WEIGHTS_FILE, read_run


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
    assert [len(names[part]) for part in ("train", "val", "test")] == [1, 1, 1]
    assert sorted(names["sha256"]) == sorted(names["train"] + names["val"] + names["test"])
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
    assert read_run(out).recipe.training.dataset == str(tmp_path / "conveyor")
    with pytest.raises(UsageError, match=r"finished, and it learnt from another dataset.*conveyor"):
        run(train, recipe, "--out", out, *again, "--dataset", tmp_path / "nowhere")
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


def write_noise(folder: Path, count: int, labels: tuple[str, ...] = ("",)) -> None:
    """Write pictures of which none looks like another, into a folder for each label."""
    for number in range(count):
        place = folder / labels[number % len(labels)]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        cv2.imwrite(str(place / f"{number}.png"), pixels)


def write_sines(folder: Path) -> None:
    time_s = np.arange(60.0)
    waves = [np.sin(time_s / (n + 3))[:, None].astype(np.float32) for n in range(8)]
    folder.mkdir()
    write_series_dataset(
        folder, [Series(f"s{n}", time_s, ("level",), wave, ()) for n, wave in enumerate(waves)]
    )


def held(folder: Path, *names: str) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


PICTURES = "anomaly: {dataset: data, width: 16, height: 16, channels: 2, latent: 2, threads: 1,\n"
SERIES = (
    "sequence: {dataset: data, goal: anomaly, network: autoencoder, features: [], window: 8,\n"
    "  decision_s: 4, hidden: 4, threads: 1,\n"
)


@pytest.mark.parametrize(
    ("recipe_text", "write", "files"),
    [
        (PICTURES, partial(write_noise, count=12), ("train.json", "val.json", "test.json")),
        (SERIES, write_sines, ("split.json",)),
    ],
    ids=["pictures", "series"],
)
def test_a_finished_run_keeps_its_split_until_another_one_is_finished(
    tmp_path: Path, recipe_text: str, write: Callable[[Path], None], files: tuple[str, ...]
) -> None:
    """What the model there learnt from would pass for its test part."""
    write(tmp_path / "data")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(recipe_text + "  optimizer: {epochs: 1, batch: 4}}\n")
    run(train, recipe, "--out", out)
    names = (*files, RUN_FILE, WEIGHTS_FILE)
    before = held(out, *names)
    anew = (train, recipe, "--out", out, "--set", "split.seed=1")
    with pytest.raises(ModelError, match=r"epoch 1"):
        run(*anew, "--set", "optimizer.learning_rate=1e38")
    with pytest.raises(UsageError, match="another recipe"):
        run(*anew, "--resume")
    with pytest.raises(DatasetError, match=r"another split|validation part is empty"):
        run(*anew, "--set", "split={train: 0.8, val: 0, test: 0.2}")
    assert held(out, *names) == before
    run(*anew)
    after = held(out, *names)
    assert all(after[name] != before[name] for name in names)


def test_a_training_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    write_noise(tmp_path / "data", 12, ("damaged", "intact"))
    write_noise(tmp_path / "one", 12, ("intact",))
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text("classifier: {dataset: data, width: 32, height: 32, threads: 1,\n"
                      "  optimizer: {epochs: 1, batch: 2}}\n")  # fmt: skip
    for error, message, arguments in (
        (DatasetError, "nothing to tell apart", ("--dataset", tmp_path / "one")),
        (ModelError, "resnet19", ("--set", "network=resnet19")),
        (ModelError, "alexnet", ("--set", "network=alexnet", "--set", "width=8")),
        (UsageError, "no such part", ("--set", "split={train: 0.8, val: 0, test: 0.2}",
                                      "--set", "optimizer.patience=1")),
        (DatasetError, "nowhere", ("--dataset", tmp_path / "nowhere", "--tensorboard")),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            run(train, recipe, "--out", out, *arguments)
        assert not out.exists(), message


def test_recordings_do_not_hide_the_split_of_pictures(tmp_path: Path) -> None:
    write_sines(tmp_path / "data")
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(SERIES + "  optimizer: {epochs: 1, batch: 4}}\n")
    out.mkdir()
    (out / "train.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"train\.json.*another split.*--out"):
        run(train, recipe, "--out", out)
    assert [path.name for path in out.iterdir()] == ["train.json"]


def test_after_a_generator_pictures_are_made(tmp_path: Path) -> None:
    write_noise(tmp_path / "data", 8, ("damaged", "intact"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("generator: {dataset: data, width: 16, height: 16, channels: 2, latent: 2,\n"
                      "  threads: 1, split: {train: 1, val: 0, test: 0},\n"
                      "  optimizer: {epochs: 1, batch: 4}}\n")  # fmt: skip
    printed = run(train, recipe, "--out", tmp_path / "run").stdout
    assert f"next: edgehaul synthesize {tmp_path / 'run'} --label damaged --count" in printed
    assert "export" not in printed


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
    kept = json.loads((tmp_path / "run" / "split.json").read_text())
    assert {part: kept[part] for part in named} == named
    assert sorted(kept["sha256"]) == names


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
