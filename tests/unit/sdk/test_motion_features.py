"""Features mean what their names say, and a device that sees one fix at a time agrees."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from edgehaul.bundle.spec import SequenceInput
from edgehaul.motion.clean import clean
from edgehaul.motion.features import FEATURES, LOOK_BACK_S, context_steps, features_of
from edgehaul.motion.resample import Motion, resample
from edgehaul.motion.windows import Windower
from edgehaul.virtual.truck import TruckTrip

ALL = tuple(FEATURES)
LOOK_BACK = int(LOOK_BACK_S)


def motion(
    speeds: list[float], headings: list[float] | None = None, *, start_s: float = 0.0
) -> Motion:
    """Return steps of one second that cover their speed's distance."""
    speed = np.array(speeds, dtype=np.float64)
    heading = np.zeros(len(speed)) if headings is None else np.array(headings, dtype=np.float64)
    return Motion(1.0, start_s + np.arange(len(speed)), speed, heading, np.cumsum(speed))


def values(name: str, of: Motion) -> np.ndarray:
    return FEATURES[name](of)


def test_a_circle_has_its_radius() -> None:
    # 10 m/s and 5 degrees a second: a circle of 114.6 m.
    circle = motion([10.0] * 40, [5.0 * i for i in range(40)])
    np.testing.assert_allclose(values("curvature_1pm", circle)[1:], math.radians(5) / 10)
    np.testing.assert_allclose(values("heading_change_deg", circle)[LOOK_BACK:], 50.0)
    np.testing.assert_allclose(
        values("heading_rate_std_dps", circle)[LOOK_BACK + 1 :], 0, atol=1e-6
    )
    np.testing.assert_allclose(values("yaw_acceleration_dps2", circle), 0, atol=1e-9)
    lateral = 10 * math.radians(5)
    np.testing.assert_allclose(values("acceleration_magnitude_mps2", circle)[1:], lateral)
    # Chord over arc of 11 steps of 5 degrees.
    chord = math.sin(math.radians(11 * 2.5)) / (11 * math.sin(math.radians(2.5)))
    np.testing.assert_allclose(values("straightness", circle)[LOOK_BACK + 1 :], chord, atol=1e-9)


def test_standing_still_has_no_shape_and_no_curve() -> None:
    standing = motion([0.1] * 30, [17.0 * i for i in range(30)])
    np.testing.assert_array_equal(values("curvature_1pm", standing), 0)
    np.testing.assert_array_equal(values("straightness", standing), 1)
    np.testing.assert_allclose(values("stop_ratio", standing), 1)


def test_statistics_look_back_ten_seconds_and_no_further() -> None:
    speeds = [20.0] + [0.0] * 10 + [10.0] * 11
    trip = motion(speeds)
    assert values("speed_max_mps", trip)[10] == 20.0
    assert values("speed_max_mps", trip)[11] == 10.0
    assert values("speed_mean_mps", trip)[0] == 20.0, "the first step has itself alone"
    assert values("speed_mean_mps", trip)[10] == pytest.approx(20 / 11)
    assert values("speed_std_mps", trip)[-1] == pytest.approx(0, abs=1e-6)
    assert values("speed_std_mps", trip)[15] == pytest.approx(np.std(speeds[5:16]))
    assert values("stop_ratio", trip)[15] == pytest.approx(6 / 11)
    assert values("distance_m", trip)[15] == pytest.approx(50.0)


def test_time_features_are_utc_circles() -> None:
    # 2026-01-05 is a Monday.
    six = datetime(2026, 1, 5, 6, tzinfo=UTC).timestamp()
    monday = motion([1.0], start_s=six)
    assert values("time_of_day_sin", monday)[0] == pytest.approx(1)
    assert values("time_of_day_cos", monday)[0] == pytest.approx(0, abs=1e-9)
    assert values("day_of_week_sin", monday)[0] == pytest.approx(0, abs=1e-9)
    assert values("day_of_week_cos", monday)[0] == pytest.approx(1)
    sunday = motion([1.0], start_s=six - 86_400)
    assert values("day_of_week_cos", sunday)[0] == pytest.approx(math.cos(6 / 7 * 2 * math.pi))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("interval_s", [0.5, 1.0, 20.0])
def test_a_value_depends_on_its_declared_context_alone(name: str, interval_s: float) -> None:
    random = np.random.default_rng(3)
    count, context = 60, FEATURES[name].context_steps(interval_s)
    speed = np.abs(random.normal(8, 6, count))
    heading = np.cumsum(random.normal(0, 20, count))
    whole = Motion(interval_s, 1e9 + interval_s * np.arange(count), speed, heading, speed.cumsum())
    tail = slice(count - context - 1, None)
    cut = Motion(interval_s, *(column[tail] for column in _columns(whole)))
    full = features_of(whole, [name])
    np.testing.assert_array_equal(features_of(cut, [name])[-1], full[-1])
    before = features_of(Motion(interval_s, *(c[:40] for c in _columns(whole))), [name])
    np.testing.assert_array_equal(before, full[:40], err_msg="it looks ahead")


def _columns(of: Motion) -> tuple[np.ndarray, ...]:
    return (of.time_s, of.speed_mps, of.heading_deg, of.travelled_m)


def test_windows_keep_only_the_context_that_their_features_need() -> None:
    assert context_steps(("speed_mps", "stop"), 1.0) == 0
    assert context_steps(("jerk_mps3", "step_m"), 1.0) == 2
    assert context_steps(("straightness", "speed_mps"), 1.0) == LOOK_BACK + 1
    assert context_steps(("stop_ratio",), 0.5) == 2 * LOOK_BACK
    assert context_steps(("stop_ratio",), 60.0) == 2


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 2.0])
def test_one_fix_at_a_time_gives_the_features_of_the_whole_trip(interval_s: float) -> None:
    fixes = TruckTrip(seed=11, duration_s=600).fixes
    count = len(ALL)
    spec = SequenceInput(
        features=ALL, window=8, interval_s=interval_s, mean=(0.0,) * count, std=(1.0,) * count
    )
    windower = Windower(spec)
    got = [window for fix in fixes for window in windower.push(fix)]
    expected = [
        rows[first : first + 8]
        for trip in resample(clean(fixes)[0], interval_s)
        for rows in [features_of(trip, ALL)]
        for first in range(len(rows) - 7)
    ]
    np.testing.assert_array_equal([window.features for window in got], expected)
    assert np.isfinite(expected).all()
