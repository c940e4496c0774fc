"""All rules of one vehicle together: in a pipeline, and on what real receivers said."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from edgehaul.clock import SystemClock, parse_utc
from edgehaul.config.device import DeviceConfig, GpsConfig
from edgehaul.config.loader import load_text
from edgehaul.config.vehicle import DrivingSection, TripsSection, VehicleConfig
from edgehaul.errors import ConfigError
from edgehaul.messages.payloads import EventData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.vehicle import DrivingEvent, GeofenceEvent, RouteEvent, TripEvent
from edgehaul.motion.clean import FixCleaner
from edgehaul.motion.fixes import read_trace, read_tracks, write_csv
from edgehaul.values import Fix
from edgehaul.virtual.truck import TruckTrip
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.checks import check_device
from edgehaul_agent.events.moments import distance_between_m
from edgehaul_agent.events.vehicle import VehicleRules
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.parking import HOME, driven, made
from tests.fakes.streams import FakeClock, ListFixes, MemoryOutbox

ALL = f"""\
    trips: {{}}
    driving: {{speed_limit_mps: 18}}
    geofences:
      file: areas.geojson
      fences:
        - {{name: home, circle: {{center: [{HOME[0]}, {HOME[1]}], radius_m: 200}}}}
    routes:
      - {{name: north, points: [[{HOME[0]}, {HOME[1]}], [{HOME[0] + 0.01}, {HOME[1]}]]}}
"""


def configured(section: str) -> DeviceConfig:
    head = "root: r\ndevice: {id: a, site: s}\ngps:\n  - name: van\n"
    return load_text(f"{head}    source: {{type: trace, path: trip.csv}}\n{section}", DeviceConfig)


def written_areas(folder: Path) -> None:
    ring = [
        [HOME[1] + e, HOME[0] + n] for e, n in ((-0.1, 0.02), (0.1, 0.02), (0.1, 0.5), (-0.1, 0.5))
    ]
    features = [
        {"properties": {"name": "far"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    ]
    content = {"type": "FeatureCollection", "features": features}
    (folder / "areas.geojson").write_text(json.dumps(content))


DRIVE = driven(
    [*[0.0] * 60, *np.linspace(0, 20, 21), *[20.0] * 300, *np.linspace(20, 0, 21), *[0.0] * 400],
    start_s=10_000.0,
)


def test_from_a_configuration_to_messages(tmp_path: Path) -> None:
    written_areas(tmp_path)
    write_csv(tmp_path / "trip.csv", DRIVE)
    config = configured(ALL)
    outbox = MemoryOutbox()
    pipeline = Assembly(config, tmp_path).pipeline(
        config.gps[0], outbox, WorkerPool(1, SystemClock()), SystemClock()
    )
    with pipeline:
        pipeline.run(threading.Event())
    told = [m for m in outbox.messages if m.topic.endswith("/events/van")]
    gist = []
    for message in told:
        assert isinstance(message.payload, EventData)
        assert message.lane == "event"
        event, position = message.payload.event, message.payload.position
        assert position is not None
        assert message.captured_at_s == position.captured_at_s
        assert isinstance(event, TripEvent | GeofenceEvent | RouteEvent | DrivingEvent)
        name = getattr(event, "fence", "") or getattr(event, "route", "")
        gist.append((getattr(event, "manoeuvre", type(event).__name__), name, event.phase))
    assert gist == [
        ("GeofenceEvent", "home", "inside"),
        ("TripEvent", "", "start"),
        ("GeofenceEvent", "home", "exit"),
        ("speeding", "", "start"),
        ("RouteEvent", "north", "deviated"),
        ("GeofenceEvent", "far", "enter"),
        ("speeding", "", "end"),
        ("idling", "", "start"),
        ("TripEvent", "", "end"),
        ("idling", "", "end"),
    ]


def test_the_pipeline_knows_where_it_was() -> None:
    config = GpsConfig(name="van", source=configured("").gps[0].source)
    outbox = MemoryOutbox()
    pipeline = GpsPipeline(
        config,
        source=ListFixes(DRIVE[:200]),
        model=None,
        outlet=StreamOutlet(outbox, DeviceTopics("s", "a"), "van"),
        clock=FakeClock(),
    )
    with pipeline:
        pipeline.run(threading.Event())
    assert not outbox.payloads("/events/van"), "nothing is told unless it is configured"
    found = pipeline.whereabouts.at(10_150.5)
    assert found is not None
    assert found.placement.source == "interpolated"
    assert found.fix.speed_mps == pytest.approx(20, abs=0.2)
    assert pipeline.whereabouts.at(10_500.0) is None


def test_a_bad_geojson_file_is_told_before_and_at_the_start(tmp_path: Path) -> None:
    config = configured(ALL)
    write_csv(tmp_path / "trip.csv", DRIVE[:9])
    assembly = Assembly(config, tmp_path)
    (result,) = [r for r in check_device(assembly, FakeClock()) if r.kind == "geofences"]
    assert result.exit_code == 2
    assert "areas.geojson" in result.detail
    with pytest.raises(ConfigError, match="cannot read the geofences"):
        assembly.pipeline(config.gps[0], MemoryOutbox(), WorkerPool(1, FakeClock()), FakeClock())
    (tmp_path / "areas.geojson").write_text(
        '{"type": "FeatureCollection", "features": [{"id": "home", "properties": {"radius_m": 9},'
        ' "geometry": {"type": "Point", "coordinates": [4, 52]}}]}'
    )
    with pytest.raises(ConfigError, match="'home' stands twice"):
        assembly.pipeline(config.gps[0], MemoryOutbox(), WorkerPool(1, FakeClock()), FakeClock())
    written_areas(tmp_path)
    (result,) = [r for r in check_device(assembly, FakeClock()) if r.kind == "geofences"]
    assert (result.exit_code, result.detail) == (0, "2 areas")


def test_every_start_has_its_end_and_what_is_told_depends_on_the_past_alone() -> None:
    trip = TruckTrip(seed=3, duration_s=1200)
    config = VehicleConfig(trips=TripsSection(), driving=DrivingSection(speed_limit_mps=20))
    whole = told(trip.fixes, config)
    assert (
        told(trip.fixes[:600], config, close=False)
        == whole[: len(told(trip.fixes[:600], config, close=False))]
    )
    for kind in ("TripEvent", "speeding", "idling"):
        phases = [
            event.phase
            for event in whole
            if kind in {type(event).__name__, getattr(event, "manoeuvre", "")}
        ]
        assert phases == ["start", "end"] * (len(phases) // 2)


def told(fixes: Sequence[Fix], config: VehicleConfig, *, close: bool = True) -> list[object]:
    rules, cleaner = VehicleRules(config), FixCleaner()
    cleaned = [good for fix in fixes if (good := cleaner.push(fix)) is not None]
    events = [data.event for fix in cleaned for data in rules.update(fix)]
    return events + ([data.event for data in rules.close()] if close else [])


def test_a_fix_costs_little() -> None:
    fixes = TruckTrip(seed=3, duration_s=1200).fixes
    config = VehicleConfig(trips=TripsSection(), driving=DrivingSection(speed_limit_mps=20))
    started_s = time.process_time()
    told(fixes, config)
    # Measured 0.08 ms, cleaning included; this bound is for machines under load.
    assert (time.process_time() - started_s) / len(fixes) < 1e-3


# Real receivers

AT_REST = ("ais-nmea", "bu353s4", "ch-4701", "nmea-rtk", "quectel", "telit-he910", "ublox-8")


@pytest.mark.shared_data
@pytest.mark.parametrize("name", AT_REST)
def test_real_receivers_at_rest_are_on_no_trip(name: str, shared_data: Path) -> None:
    fixes = read_trace(shared_data / "gps" / "gpsd_logs" / f"{name}.log")
    everything = VehicleConfig(trips=TripsSection(), driving=DrivingSection(speed_limit_mps=1))
    assert told(fixes, everything) == []


@pytest.mark.shared_data
def test_a_real_boat_is_on_one_trip(shared_data: Path) -> None:
    """It goes 430 m in a straight line at about 2.9 m/s."""
    fixes = read_trace(shared_data / "gps" / "gpsd_logs" / "bundg_zeus_9.log")
    _, end = told(fixes, VehicleConfig(trips=TripsSection(), driving=DrivingSection()))
    assert isinstance(end, TripEvent)
    assert end.distance_m == pytest.approx(430, abs=15)
    assert end.max_speed_mps == pytest.approx(3.3, abs=0.2)


@pytest.mark.shared_data
def test_a_real_car_without_speeds_is_on_one_trip(shared_data: Path) -> None:
    fixes = read_trace(
        shared_data / "gps" / "gpx_gpxpy" / "test_files" / "around-visnjan-with-car.gpx"
    )
    start, end = told(fixes, VehicleConfig(trips=TripsSection(), driving=DrivingSection()))
    assert isinstance(start, TripEvent)
    assert isinstance(end, TripEvent)
    lasted_s = fixes[-1].captured_at_s - fixes[0].captured_at_s
    assert parse_utc(end.ended_at) - parse_utc(end.started_at) > 0.7 * lasted_s


@pytest.mark.shared_data
def test_real_buses_that_say_no_speed_every_25_s(shared_data: Path) -> None:
    """Fifteen runs through a town: of the way between their fixes, most is on trips."""
    runs = [
        run.fixes
        for run in read_tracks(shared_data / "gps/gps_liverpool_bus/route14_outbound.csv").tracks
        if len(run.fixes) >= 20
    ]
    way_m = driven_m = 0.0
    for fixes in runs:
        events = told(fixes, VehicleConfig(trips=TripsSection()))
        ends = [e for e in events if isinstance(e, TripEvent) and e.phase == "end"]
        assert 1 <= len(ends) <= 3
        driven_m += sum(trip.distance_m for trip in ends)
        way_m += sum(distance_between_m(a, b) for a, b in itertools.pairwise(fixes))
    assert len(runs) == 15
    assert 0.85 < driven_m / way_m < 1.0


def test_fixes_without_anything_but_a_place() -> None:
    rules = VehicleRules(VehicleConfig(trips=TripsSection(), driving=DrivingSection()))
    assert [e for t in range(100) for e in rules.update(made(float(t), 0.0, 0.0))] == []
