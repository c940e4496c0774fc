"""Every goal and every network of sequences learns, is kept, and answers as the box will."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgehaul.config.recipe import SequenceNetworkName, SequenceRecipe
from edgehaul.config.recipe_sections import ClassLossSection, OptimizerSection
from edgehaul.errors import DatasetError
from edgehaul.values import Fix
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.run_directory import read_run
from edgehaul_tools.train.sequence.deployed import deployed_sequence
from edgehaul_tools.train.sequence.moves import load_moves
from edgehaul_tools.train.sequence.tasks import normalised
from edgehaul_tools.train.sequence.training import train_sequence
from edgehaul_tools.train.sequence.windows import load_surprises, load_windows

OPTIMIZER = OptimizerSection(epochs=4, batch=32, learning_rate=1e-2, average_decay=0.9)
SERIES = SequenceRecipe(
    features=(),
    window=8,
    decision_s=4.0,
    overlap_s=1.0,
    hidden=8,
    optimizer=OPTIMIZER,
    threads=1,
)
SURPRISE = msgspec.structs.replace(
    SERIES,
    network="autoencoder",
    goal="anomaly",
    false_alarms=0.02,
    layers=2,
    optimizer=OptimizerSection(epochs=20, batch=32, learning_rate=1e-2, average_decay=0.9),
)
MOVES = SequenceRecipe(
    network="gru",
    goal="next_position",
    features=("speed_mps", "acceleration_mps2"),
    window=6,
    horizon_s=4.0,
    hidden=16,
    optimizer=OptimizerSection(epochs=12, batch=32, learning_rate=1e-2, average_decay=0.9),
    threads=1,
)


def series(name: str, seed: int, *, faulty: bool = True, count: int = 160) -> Series:
    """Return a wave that for ten seconds is far too high."""
    random = np.random.default_rng(seed)
    time_s = np.arange(count, dtype=np.float64)
    wave = np.sin(time_s / 3 + seed) + 0.1 * random.standard_normal(count)
    other = np.cos(time_s / 3 + seed) + 0.1 * random.standard_normal(count)
    spans: tuple[AnomalySpan, ...] = ()
    if faulty:
        wave[80:90] += 4.0
        spans = (AnomalySpan("high", 80.0, 89.0),)
    values = np.stack([wave, other], axis=1).astype(np.float32)
    return Series(name, time_s, ("wave", "other"), values, spans)


def swing(name: str, phase: float) -> LabelledTrace:
    """Return a drive whose speed swings, so that it never goes on as it is."""
    fixes, latitude = [], 50.0
    for second in range(120):
        speed_mps = 12.0 + 8.0 * float(np.sin(second / 4 + phase))
        fixes.append(
            Fix(
                captured_at_s=1_767_600_000.0 + second,
                latitude_deg=latitude,
                longitude_deg=8.0,
                speed_mps=speed_mps,
                heading_deg=0.0,
            )
        )
        latitude += speed_mps / 111_195
    return LabelledTrace(name, tuple(fixes), ())


@pytest.mark.parametrize("network", ["lstm", "gru", "tcn", "transformer"])
def test_every_network_learns_classes_of_series(
    tmp_path: Path, network: SequenceNetworkName
) -> None:
    recipe = msgspec.structs.replace(SERIES, network=network, layers=2, dropout=0.1)
    train = [series(str(n), n) for n in range(4)]
    run = train_sequence(recipe, train, [series("v", 9)], tmp_path)
    assert run.metrics["f1_high"] > 0.7
    assert run.recipe.sequence == recipe
    assert run.spec.input.features == ("wave", "other")
    assert read_run(tmp_path) == run
    module = deployed_sequence(tmp_path, run.spec, run.recipe.sequence)
    named = msgspec.structs.replace(recipe, features=run.spec.input.features)
    windows = load_windows([series("t", 11)], named, run.spec.output.labels)
    scores = module(normalised(run.spec, windows.features))
    assert scores.shape == (len(windows), 2)
    assert torch.allclose(scores.sum(dim=1), torch.ones(len(windows)))


@pytest.mark.parametrize(
    "loss",
    [
        ClassLossSection(balance="none"),
        ClassLossSection(balance="weigh", label_smoothing=0.05),
        ClassLossSection(balance="draw", focal_gamma=2.0),
    ],
)
def test_every_way_to_treat_rare_classes_finds_them(tmp_path: Path, loss: ClassLossSection) -> None:
    recipe = msgspec.structs.replace(SERIES, loss=loss)
    run = train_sequence(recipe, [series(str(n), n) for n in range(4)], [series("v", 9)], tmp_path)
    assert run.metrics["f1_high"] > 0.7


def test_next_position_beats_driving_straight_on_and_answers_in_metres(tmp_path: Path) -> None:
    train = [swing(str(n), 0.7 * n) for n in range(6)]
    run = train_sequence(MOVES, train, [swing("v", 0.4)], tmp_path)
    assert run.metrics["mae_m"] < 0.5 * run.metrics["constant_velocity_mae_m"]
    assert run.metrics["rmse_m"] < 0.5 * run.metrics["constant_velocity_rmse_m"]
    assert run.spec.output.head == "regress"
    assert run.spec.output.labels == ("forward_m", "left_m")
    assert run.spec.output.horizon_s == 4.0
    module = deployed_sequence(tmp_path, run.spec, run.recipe.sequence)
    moves = load_moves([swing("t", 0.2)], MOVES)
    with torch.no_grad():
        values = module(normalised(run.spec, moves.features)).numpy()
    assert values.shape == (len(moves), 2)
    # Metres, not deviations: about 12 m/s for 4 s.
    assert abs(values[:, 0].mean() - 48) < 5
    assert np.abs(values[:, 1]).max() < 2


def test_an_autoencoder_is_surprised_by_what_it_never_saw(tmp_path: Path) -> None:
    train = [series(str(n), n) for n in range(4)]
    run = train_sequence(SURPRISE, train, [series("v", 9), series("w", 10)], tmp_path)
    assert run.metrics["auroc"] > 0.95
    assert run.metrics["false_alarm_rate"] <= SURPRISE.false_alarms
    assert run.spec.output.head == "anomaly"
    assert run.spec.output.score_threshold == pytest.approx(run.metrics["threshold"])
    module = deployed_sequence(tmp_path, run.spec, run.recipe.sequence)
    named = msgspec.structs.replace(SURPRISE, features=run.spec.input.features)
    windows = load_surprises([series("t", 11)], named)
    with torch.no_grad():
        score, error_map = module(normalised(run.spec, windows.features))
    assert score.shape == (len(windows), 1)
    assert error_map.shape == (len(windows), 8)
    assert torch.allclose(score[:, 0], error_map.mean(dim=1), atol=1e-6)
    found = score[:, 0].numpy() >= run.spec.output.score_threshold
    assert found[windows.classes == 1].mean() > 0.8
    assert found[windows.classes == 0].mean() < 0.15


def test_what_lies_beyond_all_normal_values_is_never_drawn(tmp_path: Path) -> None:
    run = train_sequence(SURPRISE, [series("a", 1)], [series("v", 9)], tmp_path)
    module = deployed_sequence(tmp_path, run.spec, run.recipe.sequence)
    with torch.no_grad():
        scores = [float(module(torch.full((1, 8, 2), far))[0]) for far in (5.0, 10.0, 20.0)]
    # Bounded drawings fall behind by the whole distance, so that errors grow with its square.
    assert scores[1] > 3 * scores[0]
    assert scores[2] > 3.5 * scores[1]


def test_without_normal_windows_to_choose_by_there_is_no_threshold(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"validation part is empty.*threshold"):
        train_sequence(SURPRISE, [series("a", 1)], [], tmp_path)


@pytest.mark.parametrize("recipe", [SERIES, SURPRISE])
def test_a_training_that_was_broken_off_goes_on_to_the_same_weights(
    tmp_path: Path, recipe: SequenceRecipe
) -> None:
    train, val = [series(str(n), n) for n in range(2)], [series("v", 9)]
    short = msgspec.structs.replace(recipe, dropout=0.1, layers=2, optimizer=OPTIMIZER)
    train_sequence(short, train, val, tmp_path / "whole")

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_sequence(short, train, val, tmp_path / "broken", stop)
    train_sequence(short, train, val, tmp_path / "broken", resume=True)
    whole, broken = (
        torch.load(tmp_path / name / "weights.pt", weights_only=True)
        for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_it_stops_early_where_it_gets_no_better(tmp_path: Path) -> None:
    optimizer = msgspec.structs.replace(OPTIMIZER, epochs=40, patience=2)
    recipe = msgspec.structs.replace(SERIES, optimizer=optimizer)
    run = train_sequence(recipe, [series(str(n), n) for n in range(2)], [series("v", 9)], tmp_path)
    assert len(run.history) < 40
    best = max(record.value for record in run.history if record.value is not None)
    assert run.metrics["macro_f1"] == best
