from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from edgehaul.config.loader import load
from edgehaul.config.recipe import DetectorRecipe, GeneratorRecipe, Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import OptimizerSection, SplitSection
from edgehaul.errors import ConfigError, UsageError
from edgehaul_tools.dataset.virtual import generate_truck_dataset
from edgehaul_tools.train.search_space import Choice, choices_of, parse_choice
from edgehaul_tools.train.tuning import Search, best_of, search, write_best

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
    with pytest.raises(UsageError, match="another recipe or of other choices"):
        search(Search(RECIPE, trips, CHOICES[1:], tmp_path, 2))


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
