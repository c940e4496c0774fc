"""Trips that are, and none that are not."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from edgehaul.clock import parse_utc
from edgehaul.config.vehicle import TripsSection, VehicleConfig
from edgehaul.messages.payloads import EventData
from edgehaul.messages.vehicle import TripEvent
from edgehaul.motion.clean import FixCleaner
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.events.vehicle import VehicleRules
from tests.fakes.parking import HeadingNoise, SpeedNoise, driven, made, parked, shunted


def told(
    fixes: Sequence[Fix], settings: TripsSection | None = None
) -> tuple[list[EventData], VehicleRules]:
    rules = VehicleRules(VehicleConfig(trips=settings or TripsSection()))
    cleaner = FixCleaner()
    events: list[EventData] = []
    for fix in fixes:
        cleaned = cleaner.push(fix)
        if cleaned is not None:
            events += rules.update(cleaned)
    events += rules.close()
    return events, rules


def trips(fixes: Sequence[Fix], settings: TripsSection | None = None) -> list[TripEvent]:
    found = [data.event for data in told(fixes, settings)[0]]
    assert all(isinstance(event, TripEvent) for event in found)
    phases = [event.phase for event in found]
    assert phases == ["start", "end"] * (len(found) // 2)
    return [event for event in found if event.phase == "end"]


def moved_on(fixes: Sequence[Fix], by_s: float) -> list[Fix]:
    return [msgspec.structs.replace(f, captured_at_s=f.captured_at_s + by_s) for f in fixes]


# Parked

NOISES = list(
    itertools.product(
        ("uniform", "wandering", "gaussian", "none"), ("random", "held", "wandering", "none")
    )
)


@pytest.mark.slow
@pytest.mark.parametrize(("speeds", "headings"), NOISES)
def test_eight_hours_parked_between_buildings_are_no_trip(
    speeds: SpeedNoise, headings: HeadingNoise
) -> None:
    for seed in range(100, 106):
        events, rules = told(parked(seed, speeds=speeds, headings=headings))
        assert events == []
        assert rules.odometer_m < 50


@pytest.mark.parametrize(
    ("seed", "options"),
    [
        (0, {}),
        (1, {"headings": "held", "speeds": "wandering"}),
        (2, {"drift_m": 40.0, "drift_s": 20.0}),
        (3, {"drift_m": 40.0, "drift_s": 300.0, "jumps_per_h": 30.0}),
        (4, {"interval_s": 10.0}),
        (5, {"interval_s": 60.0, "speeds": "none", "headings": "none"}),
        (6, {"accuracy_m": None}),
        (7, {"interval_s": 0.2, "hours": 1.0}),
    ],
)
def test_parked_is_parked_with_any_receiver(seed: int, options: dict[str, object]) -> None:
    events, rules = told(parked(seed, **{"hours": 2.0, **options}))  # type: ignore[arg-type]  # a table of options
    assert events == []
    assert rules.odometer_m == 0


def test_noise_after_a_drive_ends_it_and_adds_nothing() -> None:
    """The truck stops between buildings, where its speed never says 0 again."""
    drive = driven([*np.linspace(0, 12, 13), *[12.0] * 100, *np.linspace(12, 0, 8)])
    last = drive[-1]
    rest = [
        msgspec.structs.replace(
            fix,
            captured_at_s=last.captured_at_s + 1 + fix.captured_at_s,
            latitude_deg=fix.latitude_deg + last.latitude_deg - 52.37,
        )
        for fix in parked(3, hours=1.0)
    ]
    (trip,) = trips(drive + rest)
    assert trip.distance_m == pytest.approx(72 + 1200 + 54, abs=10)
    assert parse_utc(trip.ended_at) == pytest.approx(last.captured_at_s, abs=8)
    assert trip.ended_by == "stop"


# Slow, but a drive


@pytest.mark.parametrize(("speed_mps", "way_m"), [(1.5, 60.0), (1.2, 60.0), (2.5, 60.0), (3.0, 60)])
def test_shunting_in_an_open_yard_is_seen(speed_mps: float, way_m: float) -> None:
    for seed in range(20):
        (trip,) = trips(shunted(seed, speed_mps=speed_mps, way_m=way_m))
        assert trip.distance_m == pytest.approx(way_m, abs=9)
        assert parse_utc(trip.started_at) == pytest.approx(300, abs=10)
        assert parse_utc(trip.ended_at) == pytest.approx(300 + way_m / speed_mps, abs=6)


@pytest.mark.parametrize(
    ("speed_mps", "way_m", "drift_m", "least", "most"),
    [
        (1.5, 60.0, 5.0, 0.8, 1.0),
        (1.5, 60.0, 20.0, 0.0, 0.2),  # no further than its fixes scatter
        (0.9, 60.0, 2.0, 0.0, 0.0),  # slower than what noise says
        (1.5, 40.0, 2.0, 0.0, 0.0),  # shorter than a trip is by default
    ],
)
def test_where_the_limit_lies(
    speed_mps: float, way_m: float, drift_m: float, least: float, most: float
) -> None:
    seen = [
        bool(trips(shunted(seed, speed_mps=speed_mps, way_m=way_m, drift_m=drift_m)))
        for seed in range(20)
    ]
    assert least <= np.mean(seen) <= most


def test_a_shorter_move_is_a_trip_where_that_is_configured() -> None:
    settings = TripsSection(least_distance_m=30)
    seen = [bool(trips(shunted(seed, way_m=45), settings)) for seed in range(20)]
    assert all(seen)


# Drives

UP = list(np.linspace(0, 15, 16))
DOWN = list(np.linspace(15, 0, 11))
STILL = [0.0] * 60


def test_the_figures_of_a_drive_with_a_stop() -> None:
    speeds = [
        *STILL,
        *UP,
        *[15.0] * 100,
        *DOWN,
        *[0.0] * 90,
        *UP,
        *[15.0] * 50,
        *DOWN,
        *[0.0] * 400,
    ]
    fixes = driven(speeds, start_s=1000.0)
    events, rules = told(fixes)
    start, end = events
    assert isinstance(start.event, TripEvent)
    assert isinstance(end.event, TripEvent)
    trip = end.event
    true_m = float(np.sum((np.array(speeds)[1:] + np.array(speeds)[:-1]) / 2))
    assert trip.distance_m == pytest.approx(true_m, rel=0.002)
    assert trip.max_speed_mps == 15.0
    assert trip.mean_speed_mps == pytest.approx(trip.distance_m / trip.moving_s, abs=0.01)
    assert trip.idle_s == pytest.approx(92, abs=3)
    assert trip.moving_s + trip.idle_s == pytest.approx(trip.duration_s)
    assert (trip.gaps, trip.gap_s, trip.unseen_m, trip.ended_by) == (0, 0.0, 0.0, "stop")
    assert parse_utc(trip.started_at) == pytest.approx(1060, abs=2)
    assert start.position is not None
    assert start.position.captured_at_s == parse_utc(trip.started_at)
    assert end.position is not None
    assert end.position.captured_at_s == parse_utc(trip.ended_at)
    assert trip.started_at == start.event.started_at
    assert rules.odometer_m == pytest.approx(trip.odometer_m, abs=0.1)


def test_a_long_stop_makes_two_trips_and_the_odometer_goes_on() -> None:
    leg = [*UP, *[15.0] * 100, *DOWN]
    first, second = trips(driven([*STILL, *leg, *[0.0] * 400, *leg, *[0.0] * 400]))
    assert first.distance_m == pytest.approx(second.distance_m, abs=2)
    assert second.odometer_m == pytest.approx(first.distance_m + second.distance_m, abs=0.2)


def test_a_gap_is_declared_and_not_driven_through() -> None:
    fixes = driven([*STILL, *UP, *[15.0] * 300, *DOWN, *[0.0] * 400])
    lost = [f for f in fixes if not 150 <= f.captured_at_s < 250]
    (whole,) = trips(fixes)
    (trip,) = trips(lost)
    assert trip.gaps == 1
    assert trip.gap_s == pytest.approx(101)
    assert trip.gap_m == pytest.approx(1515, abs=5)
    assert trip.distance_m + trip.gap_m == pytest.approx(whole.distance_m, abs=10)
    assert trip.moving_s == pytest.approx(whole.moving_s - 101, abs=1)


def test_a_long_gap_ends_the_trip_and_what_was_not_seen_is_told() -> None:
    fixes = driven([*STILL, *UP, *[15.0] * 1500, *DOWN, *[0.0] * 400])
    first, second = trips([f for f in fixes if not 200 <= f.captured_at_s < 1000])
    assert first.ended_by == "gap"
    assert parse_utc(first.ended_at) == 199
    assert second.unseen_m == pytest.approx(801 * 15, abs=100)
    assert first.distance_m + second.distance_m + second.unseen_m == pytest.approx(
        fixes_m(fixes), rel=0.01
    )


def fixes_m(fixes: Sequence[Fix]) -> float:
    return sum((a.speed_mps + b.speed_mps) / 2 for a, b in itertools.pairwise(fixes))


def test_towed_while_the_box_was_off() -> None:
    here = [made(float(t), 0, 0, 0.0, 0.0) for t in range(100)]
    drive = driven([*STILL, *UP, *[15.0] * 100, *DOWN, *[0.0] * 400], start_s=9000.0)
    there = [msgspec.structs.replace(f, latitude_deg=f.latitude_deg + 0.1) for f in drive]
    (trip,) = trips(here + there)
    assert trip.unseen_m == pytest.approx(11_126, abs=20)
    assert trip.gaps == 0


def test_parked_with_the_box_off_over_night_is_one_end_and_no_gap_way() -> None:
    leg = [*UP, *[15.0] * 100, *DOWN, *[0.0] * 60]
    day = driven([*STILL, *leg])
    north = day[-1].latitude_deg - day[0].latitude_deg
    next_day = [
        msgspec.structs.replace(f, latitude_deg=f.latitude_deg + north)
        for f in driven([*STILL, *leg], start_s=40_000.0)
    ]
    first, second = trips(day + next_day)
    assert first.ended_by == "gap"
    assert parse_utc(first.ended_at) < day[-1].captured_at_s - 55, "it ended when it stopped"
    assert second.unseen_m == 0
    assert second.ended_by == "close"


def test_a_clock_set_back_ends_the_trip() -> None:
    drive = driven([*STILL, *UP, *[15.0] * 600], start_s=50_000.0)
    fixes = drive[:200] + moved_on(drive[200:], -40_000)
    first, second = trips(fixes)
    assert first.ended_by == "clock"
    assert second.ended_by == "close"
    assert first.distance_m + second.distance_m == pytest.approx(fixes_m(fixes), rel=0.01)


@pytest.mark.parametrize("interval", [1, 5, 20])
def test_receivers_without_speed(interval: int) -> None:
    fixes = driven([*STILL, *UP, *[15.0] * 600, *DOWN, *[0.0] * 600])[::interval]
    (trip,) = trips([msgspec.structs.replace(f, speed_mps=None, heading_deg=None) for f in fixes])
    assert trip.distance_m == pytest.approx(600 * 15 + 120 + 75, rel=0.05)
    assert trip.gaps == 0


@pytest.mark.parametrize("interval", [10, 30])
def test_slow_receivers_have_no_gaps(interval: int) -> None:
    fixes = driven([*[0.0] * 300, *UP, *[15.0] * 1200, *DOWN, *[0.0] * 900])[::interval]
    (trip,) = trips(fixes)
    assert trip.distance_m == pytest.approx(1200 * 15 + 195, rel=0.03)
    assert trip.gaps == 0


def test_in_motion_when_the_agent_starts() -> None:
    (trip,) = trips(driven([20.0] * 100))
    assert trip.distance_m == pytest.approx(99 * 20)
    assert trip.unseen_m == 0


def test_no_fix_and_one_fix() -> None:
    assert trips([]) == []
    assert trips(driven([20.0])) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_truck_in_traffic_is_on_one_trip_of_the_true_length(seed: int) -> None:
    virtual = TruckTrip(seed=seed, duration_s=1800)
    (trip,) = trips(virtual.fixes)
    true_m = fixes_m(virtual.true_fixes)
    assert trip.distance_m + trip.gap_m == pytest.approx(true_m, rel=0.01)
    stood_s = sum(
        mode.ended_at_s - mode.started_at_s for mode in virtual.modes[1:] if mode.label == "stopped"
    )
    assert trip.idle_s == pytest.approx(stood_s, abs=45)
