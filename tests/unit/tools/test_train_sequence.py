"""Windows get the right label, and a classifier learns them."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from edgehaul.config.recipe import SequenceRecipe
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul.values import Fix
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace
from edgehaul_tools.export.run import load_module
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.run_directory import load_weights, read_run
from edgehaul_tools.train.sequence.training import train_sequence
from edgehaul_tools.train.sequence.windows import UNDECIDED, load_windows

RECIPE = SequenceRecipe(
    features=("speed_mps", "acceleration_mps2"),
    window=10,
    hidden=8,
    optimizer=OptimizerSection(epochs=3, batch=32, learning_rate=2e-2, average_decay=0.9),
    threads=1,
)
START_S = 1_767_600_000.0


def trip(name: str, *, stop_at_s: int, duration_s: int = 120) -> LabelledTrace:
    """Return a steady drive north that brakes hard for four seconds."""
    fixes, latitude, speed = [], 50.0, 15.0
    for second in range(duration_s):
        braking = stop_at_s <= second < stop_at_s + 4
        speed = max(3.0, speed - 3.0) if braking else min(15.0, speed + 0.3)
        latitude += speed / 111_195
        fixes.append(
            Fix(
                captured_at_s=START_S + second,
                latitude_deg=latitude,
                longitude_deg=8.0,
                speed_mps=speed,
                heading_deg=0.0,
            )
        )
    span = AnomalySpan("harsh_braking", START_S + stop_at_s, START_S + stop_at_s + 4)
    return LabelledTrace(name, tuple(fixes), (span,))


def test_an_anomaly_labels_the_windows_that_end_in_it_and_edges_are_left_open() -> None:
    windows = load_windows([trip("a", stop_at_s=60)], RECIPE, ("normal", "harsh_braking"))
    kinds = windows.classes.tolist()
    assert windows.features.shape == (len(kinds), 10, 2)
    first = kinds.index(1)
    assert kinds[first - 1] == UNDECIDED
    assert kinds[first - 3] == 0
    # Two seconds are enough within the last six: windows that end 2 to 8 seconds after its start.
    assert kinds.count(1) in {6, 7, 8}
    assert kinds[-1] == 0


def test_a_classifier_learns_and_its_run_can_be_read_again(tmp_path: Path) -> None:
    train = [trip(str(n), stop_at_s=30 + 7 * n) for n in range(8)]
    reports = []
    run = train_sequence(RECIPE, train, [trip("v", stop_at_s=50)], tmp_path, reports.append)
    assert run.metrics["f1_harsh_braking"] > 0.8
    assert [report.epoch for report in reports] == [1, 2, 3]
    assert run.spec.output.labels == ("normal", "harsh_braking")
    assert run.spec.output.normal_label == "normal"
    assert read_run(tmp_path) == run
    network = SequenceNetwork(SequenceShape(2, 8, 2))
    load_weights(tmp_path, network)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    train = [trip(str(n), stop_at_s=30 + 9 * n) for n in range(4)]
    for name in ("a", "b"):
        train_sequence(RECIPE, train, [], tmp_path / name)
    first, second = (
        torch.load(tmp_path / name / "weights.pt", weights_only=True) for name in ("a", "b")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_traces_without_anomalies_cannot_be_learnt_from(tmp_path: Path) -> None:
    quiet = LabelledTrace("q", trip("q", stop_at_s=60).fixes, ())
    with pytest.raises(DatasetError, match="anomaly"):
        train_sequence(RECIPE, [quiet], [], tmp_path)


def test_patience_without_a_window_to_measure_on_is_refused_at_once(tmp_path: Path) -> None:
    waiting = msgspec.structs.replace(RECIPE.optimizer, patience=2)
    recipe = msgspec.structs.replace(RECIPE, optimizer=waiting)
    with pytest.raises(UsageError, match=r"no such part.*split\.val"):
        train_sequence(recipe, [trip("a", stop_at_s=60)], [], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_stops_with_a_remedy(tmp_path: Path) -> None:
    optimizer = OptimizerSection(epochs=3, batch=32, learning_rate=1e30, gradient_norm=0)
    recipe = msgspec.structs.replace(RECIPE, optimizer=optimizer)
    with pytest.raises(ModelError, match=r"epoch \d, batch \d.*learning_rate"):
        train_sequence(recipe, [trip("a", stop_at_s=60)], [], tmp_path)
    assert not (tmp_path / "run.json").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"not this", b"PK\x03\x04", b"\x80\x02}."])
@pytest.mark.parametrize("spoilt", ["run.json", "weights.pt"])
def test_a_damaged_run_is_named(tmp_path: Path, spoilt: str, content: bytes) -> None:
    train_sequence(RECIPE, [trip("a", stop_at_s=60)], [], tmp_path)
    (tmp_path / spoilt).write_bytes(content)
    with pytest.raises(ModelError, match=spoilt):
        load_module(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    train_sequence(RECIPE, [trip("a", stop_at_s=60)], [], tmp_path)
    with pytest.raises(ModelError, match="weights"):
        load_weights(tmp_path, SequenceNetwork(SequenceShape(2, 9, 2)))


def test_undecided_windows_are_never_learnt_from() -> None:
    windows = load_windows([trip("a", stop_at_s=60)], RECIPE, ("normal", "harsh_braking"))
    assert (windows.classes == UNDECIDED).sum() in {1, 2, 3, 4}
    assert np.isfinite(windows.features).all()
