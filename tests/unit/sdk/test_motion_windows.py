"""Windows hold the true motion, the same however the fixes arrive."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.bundle.spec import SequenceInput
from edgehaul.errors import SpecMismatchError
from edgehaul.geometry import haversine_m
from edgehaul.motion.clean import MAX_SPEED_MPS, clean
from edgehaul.motion.features import FEATURES, features_of
from edgehaul.motion.kalman import filtered
from edgehaul.motion.resample import Motion, resample
from edgehaul.motion.windows import Windower, seen_fixes, windows_of
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from tests.fakes.streams import FakeClock

ALL = tuple(FEATURES)
METRES_PER_DEGREE = 111_194.93


def window_input(
    window: int = 10, hop: int = 1, interval_s: float = 1.0, **changes: object
) -> SequenceInput:
    count = len(changes.get("features", ALL))
    fields = {"features": ALL, "mean": (0.0,) * count, "std": (1.0,) * count, **changes}
    return SequenceInput(window=window, hop=hop, interval_s=interval_s, **fields)


def trip(
    speeds: list[float],
    headings: list[float],
    *,
    interval_s: float = 1.0,
    reported: bool = True,
    start_s: float = 1000.0,
) -> list[Fix]:
    """Drive with these speeds and headings, from fix to fix at the mean of both ends."""
    fixes, north_m, east_m = [], 0.0, 0.0
    for index, (speed, heading) in enumerate(zip(speeds, headings, strict=True)):
        fixes.append(
            Fix(
                captured_at_s=start_s + index * interval_s,
                latitude_deg=north_m / METRES_PER_DEGREE,
                longitude_deg=10 + east_m / METRES_PER_DEGREE,
                speed_mps=speed if reported else None,
                heading_deg=heading % 360 if reported else None,
            )
        )
        north_m += speed * interval_s * math.cos(math.radians(heading))
        east_m += speed * interval_s * math.sin(math.radians(heading))
    return fixes


def metres_between(one: Fix, other: Fix) -> float:
    return haversine_m(one.latitude_deg, one.longitude_deg, other.latitude_deg, other.longitude_deg)


def motion_of(fixes: list[Fix], interval_s: float = 1.0) -> Motion:
    (motion,) = resample(fixes, interval_s)
    return motion


@pytest.mark.parametrize("reported", [True, False])
def test_features_of_a_drive_that_brakes_and_turns(*, reported: bool) -> None:
    speeds = [10.0] * 10 + [8.0, 6.0, 4.0] + [4.0] * 7
    headings = [350.0] * 15 + [355.0, 360.0, 365.0, 370.0, 370.0]
    motion = motion_of(trip(speeds, headings, reported=reported))
    values = {name: function(motion) for name, function in FEATURES.items()}
    # Without a receiver's speed each position tells only about the way to it.
    late = 0 if reported else 1
    brake, turn = slice(10 + late, 13 + late), slice(15 + late, 19 + late)
    np.testing.assert_allclose(values["acceleration_mps2"][brake], -2.0, atol=0.01)
    np.testing.assert_allclose(values["jerk_mps3"][10 + late], -2.0, atol=0.01)
    np.testing.assert_allclose(values["heading_rate_dps"][turn], 5.0, atol=0.1)
    lateral = 4.0 * math.radians(5.0)
    np.testing.assert_allclose(values["lateral_acceleration_mps2"][turn], lateral, atol=0.01)
    np.testing.assert_allclose(values["step_m"][1:10], 10.0, atol=0.01)
    assert not values["stop"].any()
    assert np.abs(values["heading_rate_dps"]).max() < 6, "no jump at 360"


def test_a_standing_receivers_heading_is_noise() -> None:
    fixes = trip([5.0] * 5 + [0.2] * 10 + [5.0] * 5, [90.0] * 5 + [17.0, 250.0] * 5 + [90.0] * 5)
    motion = motion_of(fixes)
    np.testing.assert_allclose(FEATURES["heading_rate_dps"](motion), 0.0, atol=1e-9)
    assert FEATURES["stop"](motion)[5:15].all()


def test_fixes_at_other_times_are_interpolated() -> None:
    # 10 Hz and accelerating by 1 m/s2, then read every second.
    speeds = [0.1 * i for i in range(101)]
    motion = motion_of(trip(speeds, [0.0] * 101, interval_s=0.1))
    np.testing.assert_allclose(motion.speed_mps, np.arange(11), atol=1e-9)
    np.testing.assert_allclose(motion.time_s, 1000.0 + np.arange(11))
    # And from every second to every quarter.
    fine = motion_of(trip(list(range(11)), [0.0] * 11), 0.25)
    np.testing.assert_allclose(fine.speed_mps, np.arange(41) / 4, atol=1e-9)


def test_an_outage_starts_a_new_window() -> None:
    fixes = trip([10.0] * 40, [0.0] * 40)
    allowed, outage = fixes[:15] + fixes[19:], fixes[:15] + fixes[20:]
    assert [len(m.time_s) for m in resample(allowed, 1.0)] == [40]
    assert [len(m.time_s) for m in resample(outage, 1.0)] == [15, 20]
    windows = windows_of(outage, window_input(window=10))
    assert len(windows) == 6 + 11
    assert all(w.ended_at_s - w.started_at_s == 9.0 for w in windows)
    assert not any(w.started_at_s <= 1014 and w.ended_at_s >= 1020 for w in windows)


@pytest.mark.parametrize(("hop", "expected"), [(1, 31), (5, 7), (10, 4), (50, 1)])
def test_windows_start_every_hop_and_name_their_time(hop: int, expected: int) -> None:
    windows = windows_of(trip([10.0] * 40, [0.0] * 40), window_input(window=10, hop=hop))
    assert [w.started_at_s for w in windows] == [1000.0 + hop * i for i in range(expected)]
    assert all(w.fix.captured_at_s == w.ended_at_s for w in windows)
    assert windows[0].features.shape == (10, len(ALL))
    assert windows[0].tensor.shape == (1, 10, len(ALL))
    assert windows[0].features.dtype == windows[0].tensor.dtype == np.float32


def test_a_place_that_nobody_can_have_driven_to_starts_a_new_window() -> None:
    fixes = trip([10.0] * 60, [0.0] * 60, reported=False)
    moved = [msgspec.structs.replace(f, latitude_deg=f.latitude_deg + 1.0) for f in fixes[30:]]
    for name in ("none", "kalman"):
        windows = windows_of([*fixes[:30], *moved], window_input(filter=name))
        # Two fixes are doubted before the third is believed.
        assert [w.started_at_s for w in windows] == [
            *(1000.0 + i for i in range(21)),
            *(1032.0 + i for i in range(19)),
        ]
        speeds = np.stack([w.features[:, ALL.index("speed_mps")] for w in windows])
        np.testing.assert_allclose(speeds[-10:], 10.0, atol=1.5)
        assert speeds.max() < 40.0


def test_fixes_hardly_apart_in_time_make_no_speed_out_of_noise() -> None:
    fixes = trip([10.0] * 30, [0.0] * 30, reported=False)
    twice = msgspec.structs.replace(
        fixes[10], captured_at_s=fixes[10].captured_at_s + 1e-4, longitude_deg=10.0001
    )
    windows = windows_of([*fixes[:11], twice, *fixes[11:]], window_input())
    assert max(w.features[:, ALL.index("speed_mps")].max() for w in windows) < 20.0


FAULTS = st.sampled_from(["twice", "swapped", "lost", "time", "latitude", "longitude", "speed"])
ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e3, 1e9, 1e15, 1e308])


@settings(max_examples=40, deadline=None)
@given(faults=st.lists(st.tuples(FAULTS, st.integers(0, 59), ODD, st.booleans()), max_size=8))
def test_no_fault_of_a_receiver_makes_a_window_impossible(
    *, faults: list[tuple[str, int, float, bool]]
) -> None:
    fixes = trip([10.0] * 60, [5.0 * i for i in range(60)])
    for fault, place, odd, shifts in faults:
        fixes = broken(fixes, fault, place, odd, shifts=shifts)
    name = "kalman" if len(faults) % 2 else "none"
    for window in windows_of(fixes, window_input(hop=8, filter=name)):
        assert np.isfinite(window.features).all()
        assert np.ptp(window.features[:, ALL.index("step_m")]) < 500
        speeds = window.features[:, ALL.index("speed_mps")]
        assert speeds.min() >= 0
        assert speeds.max() < 2 * MAX_SPEED_MPS


def broken(fixes: list[Fix], fault: str, place: int, odd: float, *, shifts: bool) -> list[Fix]:
    """Return the fixes with one fault: of one of them, or where it shifts, of all from it on."""
    place %= len(fixes)
    if fault == "twice":
        return [*fixes[:place], fixes[place], *fixes[place:]]
    if fault == "swapped":
        return [*fixes[:place], *reversed(fixes[place:])]
    if fault == "lost":
        return [*fixes[:place], *fixes[place + 9 :]] or fixes
    name = {"time": "captured_at_s", "speed": "speed_mps"}.get(fault, f"{fault}_deg")
    until = len(fixes) if shifts else place + 1
    return [
        msgspec.structs.replace(f, **{name: (getattr(f, name) or 0.0) + odd})
        if place <= i < until
        else f
        for i, f in enumerate(fixes)
    ]


def test_the_tensor_is_normalised() -> None:
    spec = window_input(features=("step_m", "speed_mps"), mean=(0.0, 6.0), std=(1.0, 2.0))
    (window,) = windows_of(trip([10.0] * 10, [0.0] * 10), spec)
    np.testing.assert_allclose(window.features[:, 1], 10.0)
    np.testing.assert_allclose(window.tensor[0, :, 1], 2.0)


@settings(max_examples=40)
@given(
    moves=st.lists(
        st.tuples(st.floats(0.2, 7.0), st.floats(0, 30), st.floats(0, 359), st.booleans()),
        min_size=2,
        max_size=60,
    ),
    window=st.integers(1, 8),
    hop=st.integers(1, 4),
    kalman=st.booleans(),
)
def test_the_device_sees_what_the_host_saw(
    *, moves: list, window: int, hop: int, kalman: bool
) -> None:
    """Windows cut from one fix at a time equal rows of the whole trip's features."""
    time_s, fixes = 0.0, []
    for elapsed_s, speed, heading, is_reported in moves:
        time_s += elapsed_s
        fixes.append(
            Fix(
                captured_at_s=time_s,
                latitude_deg=50 + time_s * 1e-4,
                longitude_deg=7.0,
                speed_mps=speed if is_reported else None,
                heading_deg=heading if is_reported else None,
            )
        )
    spec = window_input(window=window, hop=hop, filter="kalman" if kalman else "none")
    expected = []
    cleaned = clean(fixes)[0]
    for motion in resample(filtered(cleaned) if kalman else cleaned, 1.0):
        rows = features_of(motion, ALL)
        starts = range(0, len(rows) - window + 1, hop)
        expected += [(motion.time_s[i], rows[i : i + window]) for i in starts]
    windower = Windower(spec)
    got = [w for fix in fixes for w in windower.push(fix)]
    assert [w.started_at_s for w in got] == [time for time, _ in expected]
    for window_got, (_, rows) in zip(got, expected, strict=True):
        np.testing.assert_array_equal(window_got.features, rows)
        assert window_got.fix.captured_at_s >= window_got.ended_at_s - 1e-5


@pytest.mark.parametrize("reported", [True, False])
def test_a_filter_brings_what_the_model_sees_nearer_to_the_truth(*, reported: bool) -> None:
    """A receiver that gives a rough speed, or none."""
    truck = TruckTrip(seed=1, duration_s=600)
    truth = {fix.captured_at_s: fix for fix in truck.true_fixes}
    rng = np.random.default_rng(3)
    fixes = [
        msgspec.structs.replace(
            fix,
            speed_mps=max(0.0, fix.speed_mps + rng.normal(0, 0.7)) if reported else None,
            heading_deg=fix.heading_deg if reported else None,
        )
        for fix in truck.fixes
    ]
    errors = {}
    for name in ("none", "kalman"):
        spec = window_input(window=1, features=("speed_mps",), filter=name)
        seen = seen_fixes(fixes, spec)
        away_m = [metres_between(fix, truth[fix.captured_at_s]) for fix in seen]
        misses_mps = [
            w.features[0, 0] - truth[w.ended_at_s].speed_mps for w in windows_of(fixes, spec)
        ]
        errors[name] = [np.sqrt(np.mean(np.square(e))) for e in (away_m, misses_mps)]
    place, speed = np.array(errors["kalman"]) / errors["none"]
    assert place < (0.75 if reported else 1.02)
    assert speed < 0.9


def test_a_fix_that_completes_a_window_is_told_as_it_was_received() -> None:
    fixes = TruckTrip(seed=1, duration_s=60).fixes
    windows = windows_of(fixes, window_input(filter="kalman"))
    assert len(windows) > 5
    assert all(w.fix in fixes for w in windows)


def test_bad_fixes_are_counted_and_change_nothing() -> None:
    fixes = trip([10.0] * 30, [0.0] * 30)
    windower = Windower(window_input())
    lost = Fix(captured_at_s=1010.5, latitude_deg=45.0, longitude_deg=3.0)
    got = [w for fix in [*fixes[:11], lost, *fixes[11:]] for w in windower.push(fix)]
    assert windower.rejected == 1
    assert len(got) == len(windows_of(fixes, window_input()))


def test_a_fix_from_the_future_costs_half_a_minute_of_windows_or_none() -> None:
    clock = FakeClock()
    fixes = trip([10.0] * 100, [0.0] * 100, start_s=clock.now_s())
    fixes[5] = msgspec.structs.replace(fixes[5], captured_at_s=fixes[5].captured_at_s + 1800)
    replayed = windows_of(fixes, window_input())
    assert [w.started_at_s for w in replayed] == [f.captured_at_s for f in fixes[35:91]]
    windower = Windower(window_input(), clock=clock)
    live = []
    for fix in fixes:
        live += windower.push(fix)
        clock.sleep(1.0)
    assert windower.rejected == 1
    assert [w.started_at_s for w in live] == [clock.now_s() - 100 + i for i in range(91)]


def test_an_unknown_feature_is_refused_with_the_nearest_name() -> None:
    spec = window_input(features=("speed_mps", "jerk_mps2"), mean=(0.0,) * 2, std=(1.0,) * 2)
    with pytest.raises(SpecMismatchError, match="no feature 'jerk_mps2'; did you mean 'jerk_mps3'"):
        Windower(spec)
    with pytest.raises(SpecMismatchError, match="Known are: speed_mps"):
        Windower(window_input(features=("colour",), mean=(0.0,), std=(1.0,)))
