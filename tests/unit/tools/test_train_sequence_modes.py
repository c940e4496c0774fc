"""What a virtual truck does is known at every moment, and can be learnt."""

from pathlib import Path

import numpy as np
import pytest

from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe
from edgehaul.virtual.truck import MODE_LABELS, TruckTrip
from edgehaul_tools.dataset.traces import read_truck_dataset
from edgehaul_tools.dataset.virtual import generate_truck_dataset
from edgehaul_tools.train.sequence.training import train_sequence


def test_modes_cover_a_trip_without_gaps_and_stops_are_where_nothing_moves() -> None:
    trip = TruckTrip(seed=3, duration_s=900)
    assert trip.modes[0].started_at_s == trip.true_fixes[0].captured_at_s
    assert trip.modes[-1].ended_at_s == trip.true_fixes[-1].captured_at_s
    for mode, following in zip(trip.modes, trip.modes[1:], strict=False):
        assert mode.ended_at_s == following.started_at_s
        assert mode.label != following.label
    starts_s = np.array([mode.started_at_s for mode in trip.modes])
    for fix in trip.true_fixes:
        at = int(np.searchsorted(starts_s, fix.captured_at_s, side="right")) - 1
        assert (trip.modes[at].label == "stopped") == (fix.speed_mps == 0)


@pytest.mark.slow
def test_modes_of_unseen_trips_are_told_apart(tmp_path: Path, repository: Path) -> None:
    generate_truck_dataset(tmp_path / "truck", 5, 2, duration_s=900, truth="modes")
    traces = read_truck_dataset(tmp_path / "truck")
    recipe = load(repository / "configs" / "recipe" / "driving_mode.yaml", Recipe).sequence
    assert recipe is not None
    run = train_sequence(recipe, traces[:4], traces[4:], tmp_path / "run")
    assert run.spec.output.labels == tuple(sorted(MODE_LABELS))
    assert run.spec.output.normal_label == ""
    assert run.metrics["f1_stopped"] > 0.95
    assert run.metrics["macro_f1"] > 0.8
