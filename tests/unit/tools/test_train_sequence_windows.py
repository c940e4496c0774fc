"""Windows of trips and series: their classes, and what cannot be learnt from."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.geometry import EARTH_RADIUS_M
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace
from edgehaul_tools.train.sequence.moves import load_moves
from edgehaul_tools.train.sequence.training import train_sequence
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    load_surprises,
    load_windows,
    scaled_input,
    with_features,
)

RECIPE = SequenceRecipe(
    features=("level",), window=5, interval_s=1.0, decision_s=3.0, overlap_s=1.0, threads=1
)
START_S = 1_767_600_000.0


def series(*spans: AnomalySpan, count: int = 40) -> Series:
    time_s = np.arange(count, dtype=np.float64)
    values = np.stack([time_s, np.sin(time_s)], axis=1).astype(np.float32)
    return Series("s", time_s, ("level", "wave"), values, spans)


def drive(heading_deg: float, turn_dps: float, speed_mps: float, latitude: float) -> LabelledTrace:
    """Return a drive of 30 s in a plane, in steps of 10 ms, seen once a second."""
    heading = np.radians(heading_deg + turn_dps * np.arange(3000) / 100)
    moved_m = np.stack([np.cos(heading), np.sin(heading)]) * speed_mps / 100
    north_m, east_m = np.cumsum(moved_m, axis=1) - moved_m
    north = latitude + np.degrees(north_m / EARTH_RADIUS_M)
    east = 8.0 + np.degrees(east_m / EARTH_RADIUS_M / np.cos(np.radians(latitude)))
    fixes = tuple(
        Fix(
            captured_at_s=START_S + tick / 100,
            latitude_deg=float(north[tick]),
            longitude_deg=float(east[tick]),
            speed_mps=speed_mps,
            heading_deg=float(np.degrees(heading[tick]) % 360),
        )
        for tick in range(0, 3000, 100)
    )
    return LabelledTrace("d", fixes, ())


def test_a_series_is_cut_and_labelled_by_the_windows_ends() -> None:
    windows = load_windows([series(AnomalySpan("odd", 20.0, 30.0))], RECIPE, ("normal", "odd"))
    assert windows.features.shape == (36, 5, 1)
    ends = windows.features[:, -1, 0]
    assert (windows.classes[(ends >= 21) & (ends <= 31)] == 1).all()
    assert (windows.classes[(ends <= 20) | (ends >= 33)] == 0).all()
    assert windows.classes[ends == 20.0] == 0


def test_a_label_that_was_not_learnt_is_neither_normal_nor_another() -> None:
    windows = load_windows([series(AnomalySpan("new", 20.0, 30.0))], RECIPE, ("normal", "odd"))
    assert set(windows.classes.tolist()) == {0, UNDECIDED}


def test_without_a_normal_label_windows_without_an_event_are_not_learnt_from() -> None:
    spans = (AnomalySpan("city", 0.0, 10.0), AnomalySpan("highway", 20.0, 39.0))
    recipe = msgspec.structs.replace(RECIPE, normal_label="")
    windows = load_windows([series(*spans)], recipe, ("city", "highway"))
    ends = windows.features[:, -1, 0]
    assert set(windows.classes[(ends > 13) & (ends < 20)].tolist()) == {UNDECIDED}
    assert set(windows.classes.tolist()) == {0, 1, UNDECIDED}


def test_a_normal_window_touches_no_event_at_all() -> None:
    windows = load_surprises([series(AnomalySpan("odd", 20.0, 22.0))], RECIPE)
    first, last = windows.features[:, 0, 0], windows.features[:, -1, 0]
    touched = (first <= 22) & (last >= 20)
    assert (windows.classes[~touched] == 0).all()
    assert (windows.classes[touched] != 0).all()
    assert (windows.classes == 1).any()


def test_no_features_means_all_and_an_unknown_one_is_named() -> None:
    everything = msgspec.structs.replace(RECIPE, features=())
    assert with_features(everything, [series()]).features == ("level", "wave")
    with pytest.raises(SpecMismatchError, match=r"'levle'.*did you mean 'level'.*level, wave"):
        with_features(msgspec.structs.replace(RECIPE, features=("levle",)), [series()])
    assert "speed_mps" in with_features(everything, [drive(0, 0, 5, 10)]).features


def test_the_spec_carries_the_filter_and_a_series_has_no_fixes_to_filter() -> None:
    recipe = msgspec.structs.replace(RECIPE, filter="kalman")
    assert scaled_input(recipe, np.zeros((3, 5, 1), np.float32)).filter == "kalman"
    with pytest.raises(SpecMismatchError, match="a series has none"):
        load_windows([series()], recipe, ("normal",))


def test_a_constant_channel_is_not_scaled_up() -> None:
    flat = Series("f", np.arange(9.0), ("level",), np.full((9, 1), 7, np.float32), ())
    scaled = scaled_input(RECIPE, load_windows([flat], RECIPE, ("normal",)).features)
    assert scaled.std == (1.0,)
    assert scaled.mean == (7.0,)


@pytest.mark.parametrize(
    ("recordings", "changes", "needle"),
    [
        ([series(AnomalySpan("odd", 3, 9))], {"window": 60}, "none of 1 recordings holds a window"),
        ([series()], {}, "one class alone"),
        ([series(AnomalySpan("normal", 3, 9))], {}, "one class alone"),
        (
            [series(AnomalySpan("odd", 20, 30), AnomalySpan("late", 300, 400))],
            {},
            "no window of the training part shows late",
        ),
        ([series(AnomalySpan("odd", 0, 60))], {}, "shows normal.*normal_label"),
        (
            [Series("n", np.arange(9.0), ("level",), np.full((9, 1), np.nan, np.float32), ())],
            {},
            "missing value",
        ),
        ([series()], {"goal": "next_position"}, "no positions"),
        (
            [series(AnomalySpan("odd", 0, 60))],
            {"goal": "anomaly", "network": "autoencoder"},
            "training part holds an event",
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_named(
    tmp_path: Path, recordings: list[Series], changes: dict[str, object], needle: str
) -> None:
    recipe = msgspec.structs.replace(RECIPE, **changes)
    with pytest.raises(DatasetError, match=needle):
        train_sequence(recipe, recordings, [series()], tmp_path / "run")
    assert not (tmp_path / "run" / "run.json").exists()


MOVES = SequenceRecipe(
    features=("speed_mps",), window=4, horizon_s=5.0, network="gru", goal="next_position"
)


@given(
    heading_deg=st.floats(0, 359),
    speed_mps=st.floats(3, 30),
    latitude=st.floats(-60, 60),
)
def test_driving_straight_on_is_what_the_naive_answer_says(
    heading_deg: float, speed_mps: float, latitude: float
) -> None:
    moves = load_moves([drive(heading_deg, 0.0, speed_mps, latitude)], MOVES)
    assert len(moves) == 30 - 3 - 5
    assert np.allclose(moves.moves_m[:, 0], 5 * speed_mps, rtol=1e-3, atol=0.05)
    assert np.abs(moves.moves_m[:, 1]).max() < 0.05
    assert np.allclose(moves.constant_velocity_m, moves.moves_m, rtol=1e-3, atol=0.06)


@pytest.mark.parametrize("heading_deg", [0, 130, 250])
@pytest.mark.parametrize(("turn_dps", "side"), [(-10.0, 1), (10.0, -1)])
def test_a_left_turn_leads_to_the_left(heading_deg: float, turn_dps: float, side: int) -> None:
    speed_mps, turned = 8.0, np.radians(50.0)
    moves = load_moves([drive(heading_deg, turn_dps, speed_mps, 48.0)], MOVES)
    radius_m = speed_mps / np.radians(10.0)
    assert np.allclose(moves.moves_m[:, 0], radius_m * np.sin(turned), atol=0.15)
    assert np.allclose(moves.moves_m[:, 1], side * radius_m * (1 - np.cos(turned)), atol=0.15)


def test_the_naive_answer_follows_what_the_filtered_windows_say() -> None:
    trace = LabelledTrace("t", TruckTrip(seed=2, duration_s=120).fixes, ())
    recipe = msgspec.structs.replace(MOVES, filter="kalman", features=("speed_mps",))
    filtered, plain = (
        load_moves([trace], r) for r in (recipe, msgspec.structs.replace(recipe, filter="none"))
    )
    straight_m = filtered.features[:, -1, 0] * recipe.horizon_s
    np.testing.assert_allclose(filtered.constant_velocity_m[:, 0], straight_m, rtol=1e-5)
    assert not np.allclose(filtered.features, plain.features)


def test_nobody_drives_to_where_a_receiver_only_seemed_to_be() -> None:
    trace = drive(0.0, 0.0, 20.0, 50.0)
    moved = tuple(msgspec.structs.replace(f, latitude_deg=f.latitude_deg + 1) for f in trace.fixes)
    jumping = LabelledTrace("j", trace.fixes[:15] + moved[15:], ())
    recipe = msgspec.structs.replace(MOVES, window=3)
    moves = load_moves([jumping], recipe)
    assert len(moves) > 5
    np.testing.assert_allclose(moves.moves_m[:, 0], 20.0 * recipe.horizon_s, rtol=0.01)


def test_nothing_is_foretold_into_an_outage() -> None:
    whole = drive(40, 0, 10, 20)
    silent = tuple(f for f in whole.fixes if not 12 <= f.captured_at_s - START_S < 22)
    moves = load_moves([LabelledTrace("o", silent, ())], MOVES)
    # Windows end at 3..11 and from 25 on; places are known up to 11 and from 22 on.
    assert len(moves) == len(range(3, 11 - 5 + 1))
