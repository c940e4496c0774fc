"""Speeding, idling and harsh manoeuvres: each that is, once, and none that a glitch makes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgehaul.clock import parse_utc
from edgehaul.config.vehicle import (
    Circle,
    DrivingSection,
    Geofence,
    GeofencesSection,
    Place,
    TripsSection,
    VehicleConfig,
)
from edgehaul.messages.vehicle import DrivingEvent
from edgehaul.motion.clean import FixCleaner
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.events.vehicle import VehicleRules
from tests.fakes.parking import HOME, driven, made, parked

SECTION = DrivingSection(speed_limit_mps=20.0)
UP = list(np.linspace(0, 15, 16))
CRUISE = [15.0] * 60


def told(
    fixes: Sequence[Fix],
    driving: DrivingSection = SECTION,
    trips: TripsSection | None = None,
    fences: tuple[Geofence, ...] = (),
) -> list[DrivingEvent]:
    config = VehicleConfig(trips=trips, driving=driving, geofences=GeofencesSection(fences=fences))
    rules, cleaner = VehicleRules(config), FixCleaner()
    events = []
    for fix in fixes:
        cleaned = cleaner.push(fix)
        if cleaned is not None:
            events += rules.update(cleaned)
    events += rules.close()
    assert all(data.position is not None for data in events)
    return [data.event for data in events if isinstance(data.event, DrivingEvent)]


def named(events: Sequence[DrivingEvent]) -> list[tuple[str, str]]:
    return [(event.manoeuvre, event.phase) for event in events]


def turned(speed_mps: float, rates_dps: Sequence[float], *, step_s: float = 1.0) -> list[Fix]:
    """Return a drive at one speed with these rates of turn."""
    headings = np.cumsum(rates_dps) * step_s
    east = np.cumsum(np.sin(np.radians(headings))) * speed_mps * step_s
    north = np.cumsum(np.cos(np.radians(headings))) * speed_mps * step_s
    return [
        made(i * step_s, float(east[i]), float(north[i]), speed_mps, float(headings[i] % 360), 3.0)
        for i in range(len(headings))
    ]


# Speeding


def test_speeding_is_told_when_it_is_sure_and_when_it_is_over() -> None:
    start, end = told(
        driven([*UP, *CRUISE, *np.linspace(15, 25, 11), *[25.0] * 30, 22.5, 20.0, *[19.0] * 20])
    )
    assert named([start, end]) == [("speeding", "start"), ("speeding", "end")]
    assert start.started_at == end.started_at
    assert parse_utc(start.started_at) == 83  # the first above 21.4 m/s
    assert start.duration_s == 5
    assert end.duration_s == 34
    assert (end.speed_mps, end.limit_mps, end.fence) == (25.0, 20.0, "")
    assert start.ended_at == ""


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ([21.0] * 100, 0),  # within the tolerance
        ([15.0] * 20 + [25.0] * 4 + [15.0] * 50, 0),  # too short
        ([15.0] * 20 + [25.0] * 9 + [20.5] * 9 + [25.0] * 9 + [15.0] * 9, 2),  # one, not two
        ([15.0] * 20 + [25.0] * 9 + [19.5] * 9 + [25.0] * 9 + [15.0] * 9, 4),
        ([15.0] * 20 + [25.0] * 50, 2),  # the end of the data ends it
    ],
)
def test_when_it_is_speeding(speeds: list[float], expected: int) -> None:
    assert sum(event.manoeuvre == "speeding" for event in told(driven(speeds))) == expected


def test_speeds_that_the_positions_do_not_confirm_are_no_speeding() -> None:
    fixes = driven([15.0] * 120)
    wrong = [
        msgspec.structs.replace(f, speed_mps=45.0) if 40 <= i < 60 else f
        for i, f in enumerate(fixes)
    ]
    assert "speeding" not in dict(named(told(wrong)))


def test_the_lowest_limit_of_the_areas_takes_the_place_of_the_general_one() -> None:
    def area(name: str, radius_m: float, limit_mps: float | None) -> Geofence:
        circle = Circle(center=Place(*HOME), radius_m=radius_m)
        return Geofence(name=name, circle=circle, speed_limit_mps=limit_mps)

    fences = (area("town", 2000, 14.0), area("yard", 500, 3.0), area("county", 9000, None))
    speeds = [10.0] * 40 + [15.5] * 10 + [17.0] * 300
    first, second, *rest = [
        e for e in told(driven(speeds), fences=fences) if named([e]) == [("speeding", "end")]
    ]
    assert (first.fence, first.limit_mps) == ("yard", 3.0)
    assert (second.fence, second.limit_mps) == ("town", 14.0)
    assert not rest, "17 m/s is within the general limit"


# Idling


def test_idling_is_long_standing_within_a_trip() -> None:
    leg = [*UP, *CRUISE, *np.linspace(15, 0, 9)]
    events = told(driven([*[0.0] * 400, *leg, *[0.0] * 200, *leg, *[0.0] * 60, *leg, *[0.0] * 900]))
    idle = [event for event in events if event.manoeuvre == "idling"]
    assert named(idle) == [("idling", "start"), ("idling", "end")] * 2
    first_start, first_end, _, parked_end = idle
    assert first_start.duration_s == pytest.approx(120, abs=1)
    assert first_end.duration_s == pytest.approx(201, abs=12)
    # After five minutes the trip is over: from then on the vehicle is parked.
    assert parked_end.duration_s == pytest.approx(300, abs=2)


# Harsh manoeuvres


def braked(rate_mps2: float, *, low_mps: float = 0.0) -> list[float]:
    down = np.arange(20.0, low_mps, -rate_mps2)
    return [20.0] * 40 + [float(v) for v in down[1:]] + [low_mps] * 40


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        (braked(5.0), ["harsh_braking"]),
        (braked(4.0, low_mps=10), ["harsh_braking"]),
        (braked(2.5), []),
        ([5.0] * 40 + [8.5, 12.0, 15.5] + [17.0] * 40, ["harsh_acceleration"]),
        ([5.0] * 40 + [7.0, 9.0, 11.0] + [12.5] * 40, []),
        (
            braked(5.0, low_mps=8)[:-20] + [8.0] * 10 + [13.0] * 40,
            ["harsh_braking", "harsh_acceleration"],
        ),
    ],
)
def test_pedals(speeds: list[float], expected: list[str]) -> None:
    events = told(driven(speeds), DrivingSection())
    assert named(events) == [(name, "end") for name in expected]


def test_start_peak_and_end_of_a_braking() -> None:
    (event,) = told(
        driven([20.0] * 40 + [18.0, 14.0, 8.0, 3.5, 1.0] + [0.5] * 40), DrivingSection()
    )
    assert event.acceleration_mps2 == -6.0
    assert [parse_utc(t) for t in (event.started_at, event.peak_at, event.ended_at)] == [39, 42, 44]
    assert event.speed_mps == 20.0


@pytest.mark.parametrize("step_s", [0.1, 0.2, 0.5, 1.0, 2.0])
def test_the_same_braking_at_any_rate(step_s: float) -> None:
    times = np.arange(0, 120, step_s)
    speeds = np.interp(times, [0, 60, 64, 120], [20.0, 20.0, 2.0, 2.0])
    way = np.cumsum(speeds) * step_s
    fixes = [
        made(float(t), 0.0, float(m), float(v), 0.0, 3.0)
        for t, m, v in zip(times, way, speeds, strict=True)
    ]
    (event,) = told(fixes, DrivingSection())
    assert event.acceleration_mps2 == pytest.approx(-4.5, abs=0.1)
    assert event.duration_s == pytest.approx(4, abs=2)


def test_slow_receivers_say_nothing_of_it() -> None:
    assert told(driven(braked(5.0))[::3], DrivingSection()) == []


@pytest.mark.parametrize(
    ("rates_dps", "expected"),
    [
        ([0] * 30 + [20] * 4 + [0] * 30, 1),  # 5.2 m/s2
        ([0] * 30 + [20] * 4 + [0] + [-20] * 4 + [0] * 30, 1),  # an S-bend is one
        ([0] * 30 + [20] * 4 + [0] * 9 + [-20] * 4 + [0] * 30, 2),
        ([0] * 30 + [10] * 9 + [0] * 30, 0),  # 2.6 m/s2
        ([0] * 30 + [60] + [-60] + [0] * 30, 0),  # a wrong heading
        ([0] * 30 + [60] + [0] * 30, 0),  # nor is one jump of it a bend
    ],
)
def test_corners(rates_dps: list[float], expected: int) -> None:
    events = told(turned(15.0, rates_dps), DrivingSection())
    assert named(events) == [("harsh_cornering", "end")] * expected


def test_the_side_of_a_corner() -> None:
    (left,) = told(turned(15.0, [0] * 30 + [-20] * 4 + [0] * 30), DrivingSection())
    assert left.acceleration_mps2 == pytest.approx(-5.24, abs=0.01)


@pytest.mark.parametrize("heading_deg", [0.0, 350.0])
def test_a_bend_over_north(heading_deg: float) -> None:
    assert told(turned(15.0, [heading_deg] + [0.5] * 60), DrivingSection()) == []


@pytest.mark.parametrize("low_mps", [0.0, 12.0, 16.0, 25.0, 40.0])
@pytest.mark.parametrize("count", [1, 2])
def test_wrong_speeds_are_no_manoeuvre(low_mps: float, count: int) -> None:
    fixes = driven([20.0] * 100)
    for at in (20, 40, 60, 80):
        for index in range(at, at + count):
            fixes[index] = msgspec.structs.replace(fixes[index], speed_mps=low_mps)
    assert told(fixes, DrivingSection(speed_limit_mps=22.0)) == []


def test_parked_between_buildings_nothing_is_driven() -> None:
    assert told(parked(1, hours=4.0), DrivingSection(speed_limit_mps=3.0)) == []


def glitched(fixes: Sequence[Fix], rng: np.random.Generator) -> list[Fix]:
    """Return a trace with a wrong speed, heading or place in each 40 s or so."""
    result = []
    for fix in fixes:
        kind = rng.choice(["none", "speed", "heading", "place"], p=[0.976, 0.008, 0.008, 0.008])
        wrong = {
            "none": {},
            "speed": {"speed_mps": float(rng.uniform(0, 60))},
            "heading": {"heading_deg": float(rng.uniform(0, 360))},
            "place": {"latitude_deg": fix.latitude_deg + float(rng.normal(0, 1e-3))},
        }
        result.append(msgspec.structs.replace(fix, **wrong[kind]))
    return result


@pytest.mark.parametrize("with_glitches", [False, True])
def test_the_faults_of_virtual_drivers(*, with_glitches: bool) -> None:
    """What the truth says, each once, and nothing else; with glitches nearly so."""
    counts: Counter[str] = Counter()
    for seed in range(10):
        trip = TruckTrip(seed=seed, duration_s=1800)
        fixes: Sequence[Fix] = trip.fixes
        if with_glitches:
            fixes = glitched(fixes, np.random.default_rng(seed))
        events = told(fixes, DrivingSection(speed_limit_mps=25.6))
        harsh = [e for e in events if e.phase == "end" and e.manoeuvre != "idling"]
        for event in harsh:
            began_s, ended_s = parse_utc(event.started_at), parse_utc(event.ended_at)
            counts["told"] += 1
            counts["right"] += any(
                event.manoeuvre == fault.label
                and began_s <= fault.ended_at_s + 2
                and ended_s >= fault.started_at_s - 2
                for fault in trip.anomalies
            )
        counts["true"] += len(trip.anomalies)
    assert counts["true"] == 60
    if with_glitches:
        assert counts["right"] >= 0.9 * counts["told"], counts
        assert counts["right"] >= 0.9 * counts["true"], counts
    else:
        assert counts["told"] == counts["right"] == counts["true"]


# What people have called aggressive


@pytest.mark.shared_data
@pytest.mark.parametrize("trip", ["17", "20"])
def test_the_default_thresholds_part_what_people_have_labelled(
    trip: str, shared_data: Path
) -> None:
    """Means over 1 s of a phone's accelerometer, turned to the ground, in a car."""
    folder = shared_data / "gps" / "driver_behavior" / trip
    table = np.genfromtxt(
        folder / "acelerometro_terra.csv", delimiter=",", skip_header=1, usecols=(1, 2, 3)
    )
    times_s = (table[:, 0] - table[0, 0]) / 1e9
    mean = [np.convolve(table[:, axis], np.ones(51) / 51, "same") for axis in (1, 2)]
    level_mps2 = np.hypot(*mean)
    settings = DrivingSection()
    limits = {
        "freada_agressiva": settings.braking_mps2,
        "curva_direita_agressiva": settings.cornering_mps2,
        "curva_esquerda_agressiva": settings.cornering_mps2,
    }
    labelled = np.zeros(len(times_s), dtype=bool)
    rows = (folder / "groundTruth.csv").read_text().splitlines()
    for name, start, end in list(csv.reader(rows))[1:]:
        during = (times_s >= float(start) - 0.5) & (times_s <= float(end) + 0.5)
        labelled |= (times_s >= float(start) - 2) & (times_s <= float(end) + 2)
        peak_mps2 = level_mps2[during].max()
        if name == "evento_nao_agressivo":
            assert peak_mps2 < settings.acceleration_mps2
        elif name in limits:
            assert peak_mps2 >= limits[name], name
    harsh = level_mps2[~labelled] >= min(settings.braking_mps2, settings.cornering_mps2)
    assert np.count_nonzero(np.diff(harsh.astype(int)) == 1) <= 1
