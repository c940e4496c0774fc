"""Every network of the table that a box runs: learns, leaves as ONNX, answers as torch, is run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.config.loader import load_text
from edgehaul.config.recipe import Recipe
from edgehaul.motion.fixes import read_trace
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.inference.pictures import open_picture_model
from edgehaul_agent.inference.traces import Forecast, Verdict, open_trace_model
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset, generate_truck_dataset
from edgehaul_tools.export.metadata import read_spec
from edgehaul_tools.export.run import PARITY_LIMIT, export_run
from edgehaul_tools.train.architectures.table import ARCHITECTURES
from edgehaul_tools.train.follow import follow_recipe

QUICK = {"detector_nano", "image_autoencoder", "lstm"}
NOT_ON_A_BOX = {"generate", "judge"}
STEPS = "optimizer: {epochs: 2, batch: 4, learning_rate: 0.001}"
HALVES = "split: {train: 0.5, val: 0.5, test: 0}"
SERIES = f"{HALVES}, hidden: 16, window: 12, optimizer: {{epochs: 1, batch: 64}}"


def rows() -> list[object]:
    named = [row for row in ARCHITECTURES.values() if row.task not in NOT_ON_A_BOX]
    return [
        pytest.param(row.name, id=row.name, marks=() if row.name in QUICK else pytest.mark.slow)
        for row in named
    ]


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures in classes, parcels and trips."""
    folder = tmp_path_factory.mktemp("datasets")
    random = np.random.default_rng(0)
    for label, level in (("dark", 40), ("bright", 200)):
        (folder / "classify" / label).mkdir(parents=True)
        for number in range(8):
            picture = random.integers(level - 40, level + 40, (96, 96, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / "classify" / label / f"{label}{number}.png"), picture)
    generate_conveyor_dataset(folder / "detect", 8, 0, width=160, height=96)
    generate_truck_dataset(folder / "trips", 4, 5, duration_s=600)
    return folder


def recipe_of(name: str) -> tuple[Recipe, str]:
    """Return a short recipe for a network, and the name of the dataset that it learns from."""
    row = ARCHITECTURES[name]
    if row.task == "detect":
        size = name.removeprefix("detector_")
        text = f"detector: {{size: {size}, width: 160, height: 96, {HALVES}, {STEPS}}}"
        return load_text(text, Recipe), "detect"
    if row.task == "anomaly-picture":
        text = f"anomaly: {{width: 32, height: 32, normal_label: dark, {HALVES}, {STEPS}}}"
        return load_text(text, Recipe), "classify"
    if row.task == "sequence":
        goal = "anomaly" if name == "autoencoder" else "classify"
        return load_text(f"sequence: {{network: {name}, goal: {goal}, {SERIES}}}", Recipe), "trips"
    side = max(row.least_side_px, 32)
    text = f"classifier: {{network: {name}, width: {side}, height: {side}, {HALVES}, {STEPS}}}"
    return load_text(text, Recipe), "classify"


def learnt(name: str, recipe: Recipe, dataset: Path, folder: Path) -> Path:
    """Train, export and return the ONNX model, which answers as torch does."""
    run = follow_recipe(recipe, dataset, folder / "run")
    assert len(run.history) == recipe.training.optimizer.epochs
    assert all(np.isfinite(epoch.loss) for epoch in run.history)
    path = folder / f"{name}.onnx"
    report = export_run(folder / "run", path)
    assert max(report.parity.values()) <= PARITY_LIMIT, report.parity
    return path


def trace_answers(path: Path, trips: Path) -> list[Verdict | Forecast]:
    """Return what a model says of a whole trip, fix by fix, as the agent runs it."""
    spec = read_spec(path)
    assert spec is not None
    model = open_trace_model(open_engine(path), spec, where=path)
    fixes = read_trace(min((trips / "trips").glob("*.csv")))
    return [answer for fix in fixes for answer in model.judge(fix)]


@pytest.mark.parametrize("name", rows())
def test_it_learns_leaves_and_runs(name: str, datasets: Path, tmp_path: Path) -> None:
    recipe, dataset = recipe_of(name)
    path = learnt(name, recipe, datasets / dataset, tmp_path)
    if dataset == "trips":
        answers = trace_answers(path, datasets / "trips")
        assert len(answers) > 100
        assert all(isinstance(a, Verdict) and 0 <= a.score <= 1 for a in answers)
        return
    spec = read_spec(path)
    assert spec is not None
    model = open_picture_model(open_engine(path), spec, where=path, score_threshold=0.0)
    picture = np.random.default_rng(1).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    found = model.look(picture)
    assert found, "with a threshold of 0 there is always an answer"
    assert all(0 <= detection.score <= 1 for detection in found)


@pytest.mark.parametrize(
    ("network", "fix_filter"),
    [("lstm", "kalman"), pytest.param("tcn", "none", marks=pytest.mark.slow)],
)
def test_a_forecast_is_learnt_and_given_in_metres(
    network: str, fix_filter: str, datasets: Path, tmp_path: Path
) -> None:
    goal = f"goal: next_position, filter: {fix_filter}"
    text = f"sequence: {{network: {network}, {goal}, {SERIES}}}"
    recipe = load_text(text, Recipe)
    path = learnt("next", recipe, datasets / "trips", tmp_path)
    spec = read_spec(path)
    assert spec is not None
    assert spec.input.filter == fix_filter  # type: ignore[union-attr]  # of traces
    answers = trace_answers(path, datasets / "trips")
    assert len(answers) > 100
    assert all(isinstance(a, Forecast) and a.horizon_s == 5.0 for a in answers)
    assert {*answers[0].values} == {"forward_m", "left_m"}  # type: ignore[union-attr]  # all are forecasts
