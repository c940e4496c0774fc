from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import optuna
import pytest
import torch
from click.testing import CliRunner

from edgehaul.config.loader import load
from edgehaul.config.recipe import (
    ClassifierRecipe,
    DetectorRecipe,
    GeneratorRecipe,
    Recipe,
    SequenceRecipe,
)
from edgehaul.config.recipe_sections import OptimizerSection, SplitSection
from edgehaul.errors import ConfigError, EdgeHaulError, ModelError, UsageError
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.dataset.manifest import read_manifest, sealed, write_manifest
from edgehaul_tools.dataset.virtual import generate_truck_dataset
from edgehaul_tools.train.anomaly.task import AnomalyTask
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.classifier.task import ClassifierTask
from edgehaul_tools.train.command import located
from edgehaul_tools.train.detector.task import DetectorTask
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.run_directory import read_run
from edgehaul_tools.train.search_identity import require_same
from edgehaul_tools.train.search_space import Choice, choices_of, parse_choice
from edgehaul_tools.train.sequence.tasks import ClassifyTask, NextPositionTask, SurpriseTask
from edgehaul_tools.train.tuning import Search, Trial, best_of, search, write_best
from tests.fakes.tasks import CurveTask

RECIPE = Recipe(
    sequence=SequenceRecipe(
        split=SplitSection(train=0.5, val=0.5, test=0.0),
        hidden=8,
        threads=1,
        optimizer=OptimizerSection(epochs=2, batch=128, learning_rate=1e-2),
    )
)
CHOICES = (
    Choice("optimizer.learning_rate", low=1e-5, high=1e-1, log=True),
    Choice("hidden", low=4, high=12, whole=True),
    Choice("network", options=("lstm", "gru")),
)


@pytest.fixture(scope="module")
def trips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trips") / "truck"
    generate_truck_dataset(folder, 4, seed=3, duration_s=900)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset directory of two classes of grey pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        (folder / "source" / label).mkdir(parents=True)
        for number in range(8):
            picture = random.integers(level - 20, level + 20, (32, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / "source" / label / f"{number}.png"), picture)
    out = folder / "dataset"
    words = ["data", "import", str(folder / "source"), "--out", str(out)]
    done = CliRunner().invoke(edgehaul, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return out


def classifier_recipe(path: Path) -> Path:
    path.write_text(
        "classifier:\n  network: mobilenet_v2\n  weights: weights.pt\n  width: 32\n  height: 32\n"
        "  threads: 1\n  split: {train: 0.5, val: 0.5, test: 0}\n"
        "  optimizer: {epochs: 1, batch: 2}\n"
    )
    return path


def save_weights(path: Path) -> None:
    network = build_classifier("mobilenet_v2", 2, width=32, height=32)
    torch.save(network.state_dict(), path)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("a.b=1e-4..1e-2:log", Choice("a.b", low=1e-4, high=1e-2, log=True)),
        ("hidden=8..64", Choice("hidden", low=8, high=64, whole=True)),
        ("augment.mosaic = 0..1.0", Choice("augment.mosaic", low=0, high=1)),
        ("size=nano, small", Choice("size", options=("nano", "small"))),
    ],
)
def test_choices_are_read(text: str, choice: Choice) -> None:
    assert parse_choice(text) == choice


@pytest.mark.parametrize(
    "text", ["size", "=1..2", "size=nano", "size=nano,nano", "a=2..1", "a=0..1:log", "a=x..y"]
)
def test_what_is_no_choice_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--vary"):
        parse_choice(text)


def test_a_key_is_searched_once() -> None:
    with pytest.raises(UsageError, match="more than once"):
        choices_of(RECIPE, ["hidden=1..2", "hidden=3..4"])


def test_without_a_choice_the_usual_values_are_searched_around_those_of_the_recipe() -> None:
    by_key = {choice.key: choice for choice in choices_of(RECIPE, [])}
    rate = by_key["optimizer.learning_rate"]
    assert rate.low < 1e-2 < rate.high
    assert "128" in by_key["optimizer.batch"].options
    smallest = msgspec.structs.replace(RECIPE.training.optimizer, batch=2)
    training = msgspec.structs.replace(RECIPE.training, optimizer=smallest)
    by_key = {choice.key: choice for choice in choices_of(RECIPE.with_training(training), [])}
    assert by_key["optimizer.batch"].options == ("2", "4")


def test_a_search_goes_on_where_it_stopped_and_names_the_best(trips: Path, tmp_path: Path) -> None:
    told: list[int] = []
    for wanted in (2, 3):
        plan = Search(RECIPE, trips, CHOICES, tmp_path / "study", wanted)
        trials = search(plan, told=lambda trial: told.append(trial.number))
        assert len(trials) == wanted
    assert told == [0, 1, 2], "the second session ran one trial, not three"
    best = best_of(trials)
    assert best is not None
    assert best.figure == max(t.figure for t in trials if t.figure is not None)
    kept = load(write_best(plan, best), Recipe)
    assert kept.sequence is not None
    assert kept.sequence.hidden == best.values["hidden"]
    assert kept.sequence.network == best.values["network"]
    assert (tmp_path / "study" / kept.sequence.dataset).resolve() == trips.resolve()
    assert all(4 <= int(t.values["hidden"]) <= 12 for t in trials)


def test_choices_are_tried_on_the_recipe_before_anything_is_trained(
    trips: Path, tmp_path: Path
) -> None:
    wrong = (Choice("optimizer.epochs", low=0, high=5, whole=True),)
    with pytest.raises(ConfigError, match=r"--vary optimizer\.epochs=0"):
        search(Search(RECIPE, trips, wrong, tmp_path / "study", 2))
    assert not (tmp_path / "study").exists()


def test_another_search_is_kept_out_of_the_folder(trips: Path, tmp_path: Path) -> None:
    search(Search(RECIPE, trips, CHOICES[:1], tmp_path, 1))
    with pytest.raises(UsageError, match="a search of other choices;"):
        search(Search(RECIPE, trips, CHOICES[1:], tmp_path, 2))
    moved = tmp_path / "moved"
    shutil.copytree(trips, moved)
    with pytest.raises(UsageError, match="a search on another dataset;"):
        search(Search(RECIPE, moved, CHOICES[:1], tmp_path, 2))


def test_a_dataset_with_a_manifest_is_the_same_wherever_it_lies(
    pictures: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(pictures, moved)
    study = optuna.create_study()
    recipe = Recipe(classifier=ClassifierRecipe())
    for dataset in (pictures, moved):
        require_same(study, recipe, dataset, CHOICES[:1], tmp_path)
    manifest = read_manifest(moved)
    write_manifest(moved, sealed(msgspec.structs.replace(manifest, version="2")))
    with pytest.raises(UsageError, match="another dataset"):
        require_same(study, recipe, moved, CHOICES[:1], tmp_path)


def test_a_search_goes_on_with_other_workers_and_keeps_the_recipes_own_threads(
    trips: Path, tmp_path: Path
) -> None:
    recipe = RECIPE.with_training(msgspec.structs.replace(RECIPE.training, threads=0))
    for wanted, threads in ((1, 1), (2, 2)):
        plan = Search(recipe, trips, CHOICES[:1], tmp_path / "study", wanted, threads=threads)
        trials = search(plan)
        assert [trial.state for trial in trials] == ["complete"] * wanted
        ran = read_run(tmp_path / "study" / "trials" / f"{wanted - 1:04d}").recipe.training
        assert ran.threads == threads
    best = best_of(trials)
    assert best is not None
    assert load(write_best(plan, best), Recipe).training.threads == 0


def test_a_session_that_goes_on_tries_other_values(trips: Path, tmp_path: Path) -> None:
    for wanted in (1, 2):
        trials = search(Search(RECIPE, trips, CHOICES[:1], tmp_path, wanted))
    assert trials[0].values != trials[1].values


def test_the_best_trial_of_an_anomaly_model_has_the_least_error(
    trips: Path, tmp_path: Path
) -> None:
    recipe = Recipe(
        sequence=SequenceRecipe(
            network="autoencoder",
            goal="anomaly",
            split=SplitSection(train=0.5, val=0.5, test=0.0),
            hidden=8,
            threads=1,
            optimizer=OptimizerSection(epochs=2, batch=128),
        )
    )
    rates = Choice("optimizer.learning_rate", options=("1e-6", "1e-2"))
    trials = search(Search(recipe, trips, (rates,), tmp_path, 2, seed=3))
    assert {trial.values["optimizer.learning_rate"] for trial in trials} == {"1e-6", "1e-2"}
    best = best_of(trials)
    assert best is not None
    assert best.measure == "normal_error"
    assert best.values["optimizer.learning_rate"] == "1e-2"
    assert best.figure == min(trial.figure for trial in trials if trial.figure is not None)


@pytest.mark.parametrize(
    "task",
    [DetectorTask, ClassifierTask, AnomalyTask, ClassifyTask, NextPositionTask, SurpriseTask],
)
def test_a_training_reports_which_way_its_measure_goes(
    task: type[Task[object]],
) -> None:
    curve = CurveTask()
    curve.higher_is_better = task.higher_is_better
    reports: list[EpochReport] = []
    fit(curve, Plan(OptimizerSection(epochs=1, batch=16), threads=1), reports.append)
    upwards = reports[0].higher_is_better
    trials = [
        Trial(n, "complete", {}, task.measure, figure, higher_is_better=upwards)
        for n, figure in enumerate((0.2, 0.1, 0.3))
    ]
    best = best_of(trials)
    assert best is not None
    is_error = any(word in task.measure for word in ("error", "mae"))
    assert best.figure == (0.1 if is_error else 0.3)


def test_weights_are_looked_for_beside_the_recipe_and_from_the_best_one(
    pictures: Path, tmp_path: Path
) -> None:
    save_weights(tmp_path / "weights.pt")
    out = tmp_path / "below" / "study"
    written = classifier_recipe(tmp_path / "r.yaml")
    words = ["tune", str(written), "--dataset", str(pictures), "--out", str(out), "--trials", "1"]
    words += ["--vary", "optimizer.weight_decay=1e-4..1e-3"]
    done = CliRunner().invoke(edgehaul, [*words, "--json"], catch_exceptions=False)
    (trial,) = json.loads(done.stdout)["trials"]
    assert trial["state"] == "complete", trial["reason"]
    best = load(out / "best.yaml", Recipe)
    assert best.classifier is not None
    assert (out / best.classifier.weights).resolve() == tmp_path / "weights.pt"


@pytest.mark.parametrize(
    ("written", "complaint"), [(None, "cannot be read"), ("fc.weight", "of another network")]
)
def test_weights_are_tried_before_the_first_trial(
    pictures: Path, tmp_path: Path, written: str | None, complaint: str
) -> None:
    if written:
        torch.save({written: torch.zeros(2, 2)}, tmp_path / "weights.pt")
    recipe = located(load(classifier_recipe(tmp_path / "r.yaml"), Recipe), tmp_path / "r.yaml")
    with pytest.raises(ModelError, match=complaint):
        search(Search(recipe, pictures, CHOICES[:1], tmp_path / "study", 1))
    assert not (tmp_path / "study").exists()


def test_where_all_trials_fail_the_reason_is_told(pictures: Path, tmp_path: Path) -> None:
    save_weights(tmp_path / "weights.pt")
    written = classifier_recipe(tmp_path / "r.yaml")
    words = ["tune", str(written), "--dataset", str(pictures), "--out", str(tmp_path / "study")]
    networks = ["--vary", "network=resnet18,resnet34", "--trials", "2"]
    with pytest.raises(EdgeHaulError, match=r"the last one failed: .*of another network"):
        CliRunner().invoke(edgehaul, [*words, *networks], catch_exceptions=False)


def test_what_has_no_figure_is_not_searched(trips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no figure"):
        search(Search(Recipe(generator=GeneratorRecipe()), trips, CHOICES[:1], tmp_path, 1))
    assert Recipe(detector=DetectorRecipe()).kind == "detector"


def command(recipe: Path, trips: Path, out: Path, *more: str) -> list[str]:
    program = [sys.executable, "-m", "edgehaul_tools", "tune", str(recipe), "--out", str(out)]
    choice = ["--vary", "optimizer.learning_rate=1e-4..1e-1:log"]
    return [*program, "--dataset", str(trips), *choice, *more]


def write_recipe(path: Path, epochs: int) -> Path:
    path.write_text(
        "sequence:\n  hidden: 8\n  split: {train: 0.5, val: 0.5, test: 0}\n"
        f"  optimizer: {{epochs: {epochs}, batch: 128}}\n"
    )
    return path


@pytest.mark.slow
def test_two_workers_share_one_study(trips: Path, tmp_path: Path) -> None:
    words = command(write_recipe(tmp_path / "r.yaml", 2), trips, tmp_path / "study")
    done = subprocess.run(
        [*words, "--trials", "6", "--workers", "2", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    trials = json.loads(done.stdout)["trials"]
    assert [t["number"] for t in trials][:6] == list(range(6))
    assert sum(t["state"] in {"complete", "pruned"} for t in trials) == 6
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study" / "study.log"))
    )
    study = optuna.load_study(study_name="edgehaul", storage=storage)
    assert len({trial.user_attrs["pid"] for trial in study.trials}) == 2, "both took part"


@pytest.mark.slow
def test_a_killed_search_goes_on(trips: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    # So many epochs that the kill comes in the middle of the first trial.
    words = command(write_recipe(tmp_path / "r.yaml", 400), trips, study)
    with subprocess.Popen([*words, "--trials", "1"]) as process:
        deadline_s = time.monotonic() + 60
        while not (study / "trials" / "0000").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    (study / "study.log").touch()  # whatever the file's lock was, it is not held any more
    plan = Search(RECIPE, trips, CHOICES[:1], study, 2)
    with pytest.raises(UsageError, match="another recipe"):
        search(plan)
    recipe = load(tmp_path / "r.yaml", Recipe)
    again = Search(
        recipe, trips, choices_of(recipe, ["optimizer.learning_rate=1e-4..1e-1:log"]), study, 1
    )
    (trial,) = search(again)
    assert trial.state == "fail", "the trial that was killed is not left running for ever"
