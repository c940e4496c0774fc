"""Trips on a map: the smoothed way is nearer to the truth than the fixes beside it."""

import math
import re
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from edgehaul.geometry import haversine_m
from edgehaul.motion.kalman import smoothed
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace
from edgehaul_tools.evaluate.smooth_track import smooth_track
from edgehaul_tools.evaluate.track_drawing import draw_track

START_S = 1_767_600_000.0
LONELY = re.compile(r"M([0-9.]+) ([0-9.]+)h0")


def error_m(track: Sequence[Fix], trip: TruckTrip) -> float:
    """Return the root of the mean squared distance from the truth."""
    truth = {fix.captured_at_s: fix for fix in trip.true_fixes}
    pairs = [(fix, truth[fix.captured_at_s]) for fix in track]
    away_m = [
        haversine_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)
        for a, b in pairs
    ]
    return math.sqrt(float(np.mean(np.square(away_m))))


def spoilt(fixes: Sequence[Fix]) -> list[Fix]:
    """Return fixes of which the first lies 80 m away, and one in thirty has a wrong speed."""
    random = np.random.default_rng(2)
    worse = [
        msgspec.structs.replace(fix, speed_mps=max(0.0, fix.speed_mps + random.normal(0, 8)))
        if index % 30 == 15
        else fix
        for index, fix in enumerate(fixes)
    ]
    first = worse[0]
    worse[0] = msgspec.structs.replace(first, latitude_deg=first.latitude_deg + 80 / 111_195)
    return worse


@pytest.mark.parametrize("seed", [1, 3])
def test_the_smoothed_way_is_nearer_to_the_truth_also_after_outliers(seed: int) -> None:
    trip = TruckTrip(seed=seed, duration_s=600)
    assert error_m(smooth_track(trip.fixes), trip) < 0.5 * error_m(trip.fixes, trip)
    fixes = spoilt(trip.fixes)
    mended = error_m(smooth_track(fixes), trip)
    assert mended < 0.5 * error_m(fixes, trip)
    assert mended < 0.8 * error_m(smoothed(fixes), trip)


def test_what_the_receiver_did_not_say_is_not_made_up() -> None:
    fixes = [
        Fix(captured_at_s=START_S + s, latitude_deg=50 + s * 1e-4, longitude_deg=8.0)
        for s in range(30)
    ]
    fixes[3] = msgspec.structs.replace(fixes[3], speed_mps=11.1, heading_deg=0.0)
    track = smooth_track(fixes)
    assert [fix.speed_mps for fix in track] == pytest.approx([11.1] * 30, abs=0.5)
    assert smooth_track([]) == ()


def test_of_a_long_trip_every_nth_fix_is_smoothed() -> None:
    fixes = TruckTrip(seed=1, duration_s=120).fixes
    track = smooth_track(fixes, most=50)
    assert [f.captured_at_s for f in track] == [f.captured_at_s for f in fixes[::3]]


def test_a_map_shows_the_fixes_beside_the_smoothed_way() -> None:
    fixes = spoilt(TruckTrip(seed=1, duration_s=120).fixes)
    drawing = draw_track(LabelledTrace("t", tuple(fixes), ()), [], [])
    dots = LONELY.findall(drawing)
    assert 20 < len(dots) <= len(fixes)
    assert all(0 <= float(x) <= 900 and 0 <= float(y) <= 480 for x, y in dots)
    for word in ("as received", "smoothed", "true event", "reported"):
        assert word in drawing


def test_fixes_that_cannot_be_do_not_shrink_the_map() -> None:
    fixes = TruckTrip(seed=1, duration_s=120).fixes
    wild = [
        Fix(captured_at_s=fixes[-1].captured_at_s + 1, latitude_deg=0.0, longitude_deg=0.0),
        Fix(captured_at_s=fixes[-1].captured_at_s + 2, latitude_deg=math.nan, longitude_deg=0.0),
    ]
    plain, spoilt_one = (
        draw_track(LabelledTrace("t", tuple(f), ()), [], []) for f in (fixes, (*fixes, *wild))
    )
    assert plain == spoilt_one
    nowhere = draw_track(LabelledTrace("t", tuple(wild), ()), [], [])
    assert "no fix" in nowhere


def test_a_trip_across_the_date_line_is_one_way() -> None:
    fixes = tuple(
        Fix(
            captured_at_s=START_S + s,
            latitude_deg=-17.0,
            longitude_deg=(179.999 + s * 1e-4 + 180) % 360 - 180,
        )
        for s in range(30)
    )
    drawing = draw_track(LabelledTrace("t", fixes, ()), [], [])
    assert ">50 m<" in drawing, "310 m are 828 pixels"


def test_fixes_have_a_place_to_be_drawn_even_where_the_receiver_was_silent() -> None:
    fixes = tuple(
        Fix(captured_at_s=START_S + s, latitude_deg=50 + s * 1e-4, longitude_deg=8.0)
        for s in (0, 1, 2, 60, 61)
    )
    span = AnomalySpan("speeding", START_S + 20, START_S + 25)
    drawing = draw_track(LabelledTrace("t", fixes, (span,)), [span], [])
    assert "true: speeding" in drawing
    assert "nan" not in drawing
