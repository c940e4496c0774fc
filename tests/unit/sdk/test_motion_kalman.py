"""Filtering and smoothing bring a track nearer to the truth, and outliers do not move it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from edgehaul.geometry import haversine_m
from edgehaul.motion.kalman import KalmanTracker, filtered, smoothed
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip


def error_m(fixes: tuple[Fix, ...], trip: TruckTrip) -> float:
    """Return the root of the mean squared distance from the truth."""
    truth = {fix.captured_at_s: fix for fix in trip.true_fixes}
    squares = [
        haversine_m(fix.latitude_deg, fix.longitude_deg, true.latitude_deg, true.longitude_deg) ** 2
        for fix in fixes
        if (true := truth[fix.captured_at_s])
    ]
    return math.sqrt(float(np.mean(squares)))


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_truth_is_nearer_after_filtering_and_nearest_after_smoothing(seed: int) -> None:
    trip = TruckTrip(seed=seed, duration_s=900)
    raw, causal, both = trip.fixes, filtered(trip.fixes), smoothed(trip.fixes)
    assert error_m(causal, trip) < 0.7 * error_m(raw, trip)
    assert error_m(both, trip) < 0.9 * error_m(causal, trip)
    claimed_m = math.sqrt(2 * np.mean([fix.accuracy_m**2 for fix in both]))
    assert 0.5 < claimed_m / error_m(both, trip) < 2, "it knows how good it is"
    truth = {fix.captured_at_s: fix.speed_mps for fix in trip.true_fixes}
    misses = [fix.speed_mps - truth[fix.captured_at_s] for fix in both]
    assert np.sqrt(np.mean(np.square(misses))) < 0.3


def test_outliers_are_counted_and_do_not_move_the_track() -> None:
    trip = TruckTrip(seed=2, duration_s=600)
    bad = [
        msgspec.structs.replace(fix, latitude_deg=fix.latitude_deg + 60 / 111_195)
        if index % 40 == 30
        else fix
        for index, fix in enumerate(trip.fixes)
    ]
    tracker = KalmanTracker()
    got = tuple(tracker.push(fix) for fix in bad)
    assert tracker.outliers == sum(a is not b for a, b in zip(bad, trip.fixes, strict=True))
    assert error_m(got, trip) < error_m(filtered(trip.fixes), trip) + 0.5


def test_what_is_filtered_depends_on_the_past_alone() -> None:
    fixes = TruckTrip(seed=5, duration_s=300).fixes
    assert filtered(fixes)[:100] == filtered(fixes[:100])
    assert smoothed(fixes)[-1] == filtered(fixes)[-1], "the last one has no future"


def test_harsh_braking_is_no_outlier_though_the_receiver_gives_no_speed() -> None:
    north_m = np.cumsum([15.0] * 60 + [7.0] + [1.5] * 12)
    fixes = [
        Fix(captured_at_s=i, latitude_deg=50 + m / 111_195, longitude_deg=7.0, accuracy_m=3.0)
        for i, m in enumerate(north_m)
    ]
    tracker = KalmanTracker()
    got = [tracker.push(fix) for fix in fixes]
    away_m = [
        haversine_m(a.latitude_deg, 7.0, b.latitude_deg, 7.0)
        for a, b in zip(fixes, got, strict=True)
    ]
    assert tracker.outliers == 0
    assert max(away_m) < 3.0, "it does not drive on where the vehicle has stopped"
    assert all(fix.speed_mps < 3.0 for fix in got[62:])


@pytest.mark.parametrize("speed_mps", [None, 20.0])
def test_a_wrong_first_position_is_given_up_at_once(speed_mps: float | None) -> None:
    fixes = [
        Fix(
            captured_at_s=float(i),
            latitude_deg=50 + (20 * i if i else 90) / 111_195,
            longitude_deg=7.0,
            speed_mps=speed_mps,
            heading_deg=None if speed_mps is None else 0.0,
        )
        for i in range(20)
    ]
    away_m = [
        haversine_m(a.latitude_deg, 7.0, b.latitude_deg, 7.0)
        for a, b in zip(fixes, filtered(fixes), strict=True)
    ]
    assert max(away_m) < 15


def test_a_vehicle_that_truly_jumps_is_found_again() -> None:
    def at(second: int, latitude_deg: float) -> Fix:
        return Fix(captured_at_s=second, latitude_deg=latitude_deg, longitude_deg=7.0)

    fixes = [at(i, 50.0) for i in range(20)] + [at(20 + i, 51.0) for i in range(20)]
    assert filtered(fixes)[-1].latitude_deg == pytest.approx(51.0, abs=1e-4)


def test_an_outage_starts_anew_and_180_degrees_is_no_wall() -> None:
    def at(second: float, longitude_deg: float) -> Fix:
        wrapped = (longitude_deg + 180) % 360 - 180
        return Fix(captured_at_s=second, latitude_deg=0.0, longitude_deg=wrapped)

    fixes = [at(i, 179.999 + i * 1e-4) for i in range(30)] + [at(500, 10.0)]
    for estimate in (filtered(fixes), smoothed(fixes)):
        assert estimate[29].longitude_deg == pytest.approx(-179.9981, abs=3e-4)
        assert estimate[30].longitude_deg == pytest.approx(10.0)
    assert filtered([]) == smoothed([]) == ()


def test_missing_and_useless_values_of_the_receiver() -> None:
    fixes = [
        Fix(
            captured_at_s=float(i),
            latitude_deg=50.0 + i * 1e-4,
            longitude_deg=7.0,
            accuracy_m=[None, 0.0, math.nan][i % 3],
        )
        for i in range(60)
    ]
    last = smoothed(fixes)[-1]
    assert last.speed_mps == pytest.approx(11.12, abs=0.3)
    assert math.cos(math.radians(last.heading_deg)) > 0.999
    assert math.isfinite(last.accuracy_m)
