"""Where a vehicle was between its fixes: near the truth, and never claimed without a signal."""

from __future__ import annotations

import threading

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.geometry import haversine_m
from edgehaul.motion.clean import FixCleaner
from edgehaul.motion.ellipsoid import moved
from edgehaul.motion.kalman import KalmanTracker
from edgehaul.motion.whereabouts import RecentFixes, Whereabouts
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from tests.fakes.parking import driven, made

MAX_AGE_S = 2.0


def away_m(a: Fix, b: Fix) -> float:
    return haversine_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)


def answers(seed: int, *, live: bool) -> list[tuple[Fix, float, Whereabouts | None]]:
    """Ask once a fix, as the box would, for a random time just before it, or after it.

    Returns:
        Truth, time since the last fix before the time asked for (infinite where the fixes on
        both sides of it are an outage apart), and the answer.
    """
    trip = TruckTrip(seed=seed, duration_s=1800)
    fine = TruckTrip(seed=seed, duration_s=1800, interval_s=0.1).true_fixes
    start_s = fine[0].captured_at_s
    recent, cleaner, tracker = RecentFixes(max_age_s=MAX_AGE_S), FixCleaner(), KalmanTracker()
    rng = np.random.default_rng(seed)
    asked = []
    last_s = start_s
    for fix in trip.fixes:
        cleaned = cleaner.push(fix)
        if cleaned is None:
            continue
        recent.push(tracker.push(cleaned))
        silent_s = fix.captured_at_s - last_s
        tick = round((fix.captured_at_s - start_s) * 10)
        tick += int(rng.integers(1, 60)) if live else -int(rng.integers(1, max(2, silent_s * 10)))
        if not 0 <= tick < len(fine):
            continue
        age_s = tick / 10 + start_s - (fix.captured_at_s if live else last_s)
        asked.append((fine[tick], age_s, recent.at(start_s + tick / 10)))
        last_s = fix.captured_at_s
    return asked


@pytest.mark.parametrize("live", [False, True])
def test_the_error_at_20_mps_and_what_is_claimed(*, live: bool) -> None:
    errors_m, claims_m, fast_m = [], [], []
    for seed in range(4):
        for truth, age_s, got in answers(seed, live=live):
            if age_s > MAX_AGE_S + 0.05 and (live or age_s > 5):
                assert got is None, "no position is claimed when the GPS is out"
            if got is None:
                continue
            error_m = away_m(got.fix, truth)
            errors_m.append(error_m)
            claims_m.append(got.placement.uncertainty_m)
            if 18 <= truth.speed_mps <= 23:
                fast_m.append((error_m, got.placement.uncertainty_m))
    fast = np.array(fast_m)
    assert np.median(fast[:, 0]) < 2.2
    assert np.percentile(fast[:, 0], 95) < 5.0
    # What is claimed to be within 5 m is, as often as it is claimed to be.
    sure = fast[fast[:, 1] <= 5.0]
    assert len(sure) > 0.4 * len(fast)
    assert np.mean(sure[:, 0] <= 5.0) > 0.98
    inside = np.mean(np.array(errors_m) <= np.array(claims_m))
    assert 0.93 < inside < 0.995, "the claim is neither too small nor too large"


def test_the_cubic_is_exact_where_acceleration_is_constant() -> None:
    """A braking truck in a straight line: the curve is a parabola, and so is the way."""
    start, brakes = 20.0, -2.0
    fixes = [
        made(t, 0.0, start * t + brakes * t * t / 2, start + brakes * t, 0.0, 1.0)
        for t in (0.0, 2.0)
    ]
    recent = RecentFixes()
    for fix in fixes:
        recent.push(fix)
    for t in (0.3, 1.0, 1.7):
        got = recent.at(t)
        assert got is not None
        true = made(t, 0.0, start * t + brakes * t * t / 2)
        assert away_m(got.fix, true) < 0.01
        assert got.fix.speed_mps == pytest.approx(start + brakes * t, abs=0.05)
        assert got.placement.source == "interpolated"


def test_a_bend_is_no_chord() -> None:
    radius_m, rate = 100.0, 0.2  # 20 m/s, as sharp as a slip road

    def at(t: float) -> Fix:
        angle = rate * t
        east_m, north_m = radius_m * (1 - np.cos(angle)), radius_m * np.sin(angle)
        return made(t, float(east_m), float(north_m), 20.0, float(np.degrees(angle)), 1.0)

    recent = RecentFixes()
    recent.push(at(0.0))
    recent.push(at(2.0))
    got = recent.at(1.0)
    assert got is not None
    assert away_m(got.fix, at(1.0)) < 0.1
    chord = made(1.0, (1 - np.cos(0.4)) * radius_m / 2, np.sin(0.4) * radius_m / 2)
    assert away_m(chord, at(1.0)) > 1.9
    assert got.fix.heading_deg == pytest.approx(np.degrees(0.2), abs=0.1)


def test_a_wrong_velocity_does_not_bend_the_way() -> None:
    recent = RecentFixes()
    recent.push(made(0.0, 0.0, 0.0, 0.0, 0.0))
    recent.push(made(2.0, 0.0, 2.0, 60.0, 90.0))
    got = recent.at(1.0)
    assert got is not None
    assert away_m(got.fix, made(1.0, 0.0, 1.0)) < 0.01


def test_after_the_newest_fix_it_goes_on_for_a_while_and_is_less_sure() -> None:
    recent = RecentFixes(max_age_s=2.0)
    for fix in driven([20.0] * 11):
        recent.push(fix)
    found = [recent.at(10.0 + age_s) for age_s in (0.0, 0.5, 1.0, 2.0, 2.01, 60.0)]
    assert [None if w is None else w.placement.source for w in found] == [
        "measured", "extrapolated", "extrapolated", "extrapolated", None, None
    ]  # fmt: skip
    known = [w for w in found if w is not None]
    sizes_m = [w.placement.uncertainty_m for w in known]
    assert sizes_m == sorted(sizes_m)
    assert sizes_m[-1] > sizes_m[0] + 1
    assert away_m(known[3].fix, made(12.0, 0.0, 240.0)) < 0.05


def test_nothing_is_known_in_an_outage_before_the_first_fix_or_after_a_jump_of_the_clock() -> None:
    recent = RecentFixes(gap_s=5.0, max_age_s=2.0)
    assert recent.at(0.0) is None
    for fix in driven([20.0] * 11, start_s=100.0) + driven([20.0] * 11, start_s=140.0):
        recent.push(fix)
    assert recent.at(99.9) is None
    assert recent.at(111.0) is not None
    assert [recent.at(t) for t in (112.5, 125.0, 139.9)] == [None] * 3
    recent.push(made(50.0, 0.0, 0.0))
    assert recent.at(145.0) is None
    assert recent.at(50.0) is not None


def test_without_speeds_the_way_is_straight_and_less_sure() -> None:
    plain = RecentFixes()
    rich = RecentFixes()
    for fix in driven([10.0] * 3):
        rich.push(fix)
        plain.push(msgspec.structs.replace(fix, speed_mps=None, heading_deg=None))
    known, rough = rich.at(0.5), plain.at(0.5)
    assert known is not None and rough is not None  # noqa: PT018 - for the type checker
    assert away_m(known.fix, rough.fix) < 0.01
    assert rough.placement.uncertainty_m > known.placement.uncertainty_m
    assert rough.fix.speed_mps == pytest.approx(10.0, abs=0.01)
    assert rough.fix.heading_deg == pytest.approx(0.0, abs=0.01)


@given(
    st.floats(-85, 85), st.sampled_from([0.0, 179.9999, -179.9999, 35.0]), st.floats(0, 360),
    st.floats(0, 40), st.floats(0, 1),
)  # fmt: skip
def test_the_place_does_not_depend_on_where_on_earth_it_is(
    latitude_deg: float, longitude_deg: float, heading_deg: float, speed_mps: float, part: float
) -> None:
    east, north = np.sin(np.radians(heading_deg)), np.cos(np.radians(heading_deg))
    recent = RecentFixes()
    for t in (0.0, 1.0):
        lat, lon = moved(latitude_deg, longitude_deg, speed_mps * t * east, speed_mps * t * north)
        recent.push(
            Fix(
                captured_at_s=t,
                latitude_deg=lat,
                longitude_deg=lon,
                speed_mps=speed_mps,
                heading_deg=heading_deg,
            )
        )
    got = recent.at(part)
    assert got is not None
    lat, lon = moved(latitude_deg, longitude_deg, speed_mps * part * east, speed_mps * part * north)
    assert haversine_m(got.fix.latitude_deg, got.fix.longitude_deg, lat, lon) < 0.05
    assert -180 <= got.fix.longitude_deg <= 180


def test_others_may_ask_while_fixes_come() -> None:
    recent = RecentFixes(keep_s=5.0)
    fixes = driven([20.0] * 3000)
    stop = threading.Event()
    wrong: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            for time_s in np.random.default_rng(1).uniform(0, 3000, 50):
                got = recent.at(float(time_s))
                if got is not None and away_m(got.fix, made(0, 0, 20 * float(time_s))) > 1.0:
                    wrong.append(got)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for fix in fixes:
        recent.push(fix)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert recent.at(2990.0) is None, "what is old is forgotten"
