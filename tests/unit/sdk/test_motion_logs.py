"""Traces of gpsd, Traccar and OsmAnd, and tables with columns of any name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgehaul.errors import DataError
from edgehaul.motion.fixes import read_trace, read_trace_counted, read_tracks

KNOT = 1852 / 3600
NOON_S = 1769860800.0
TRACCAR = {
    "deviceId": 7,
    "deviceTime": "2026-01-31T11:59:58.000+00:00",
    "fixTime": "2026-01-31T12:00:00.000+00:00",
    "valid": True,
    "latitude": 1.5,
    "longitude": 2.5,
    "altitude": 9.0,
    "speed": 10.0,
    "course": 90.0,
    "accuracy": 0,
    "attributes": {"motion": True},
}


def written(folder: Path, text: str, name: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_traccar_json_is_in_knots_and_names_what_is_invalid(tmp_path: Path) -> None:
    positions = [TRACCAR, {**TRACCAR, "valid": False}, {**TRACCAR, "latitude": 99}, "x"]
    path = written(tmp_path, json.dumps(positions), "route.json")
    trace = read_trace_counted(path)
    (fix,) = trace.fixes
    assert (trace.form, trace.rejected) == ("traccar", 3)
    assert fix.captured_at_s == NOON_S
    assert fix.speed_mps == pytest.approx(10 * KNOT)
    assert (fix.heading_deg, fix.altitude_m, fix.accuracy_m) == (90.0, 9.0, None)


OF_TWO = {
    "route.json": json.dumps([TRACCAR, {**TRACCAR, "deviceId": 8}]),
    "route.csv": (
        "id,deviceId,protocol,fixTime,valid,latitude,longitude\n"
        "1,7,osmand,1769860800,true,1,2\n2,8,osmand,1769860801,true,3,4\n"
    ),
    "table.csv": "time,lat,lon,vehicle_id\n5,1,2,7\n6,3,4,8\n",
    "access.log": "id=7&lat=1&lon=2&timestamp=5\nid=8&lat=3&lon=4&timestamp=6\n",
    "client.log": "deviceid=7&lat=1&lon=2&timestamp=5\ndeviceid=8&lat=3&lon=4&timestamp=6\n",
}


@pytest.mark.parametrize("name", OF_TWO)
def test_a_trace_of_two_devices_is_refused_and_their_tracks_are_told_apart(
    tmp_path: Path, name: str
) -> None:
    path = written(tmp_path, OF_TWO[name], name)
    for read in (read_trace, read_trace_counted):
        with pytest.raises(DataError, match="positions of 2 devices: 7, 8") as caught:
            read(path)
        assert caught.value.where == str(path)
    assert [(t.vehicle, len(t.fixes)) for t in read_tracks(path).tracks] == [("7", 1), ("8", 1)]


def test_vehicles_and_trips_are_found_by_usual_names_or_as_mapped(tmp_path: Path) -> None:
    text = "time,lat,lon,bus,Trip ID,speed\n7,1,1,b,2,3\n5,1,1,a,1,3\n6,1,1,a,2,3\n"
    path = written(tmp_path, text, "day.csv")
    assert [t.trip for t in read_tracks(path).tracks] == ["1", "2"]
    tracks = read_tracks(path, {"vehicle": "bus"}).tracks
    assert [(t.vehicle, t.trip) for t in tracks] == [("a", "1"), ("a", "2"), ("b", "2")]
    assert tracks[0].fixes[0].speed_mps == 3


def test_trips_of_one_vehicle_are_one_trace_by_time(tmp_path: Path) -> None:
    text = "time,lat,lon,vehicle,trip\n7,1,1,a,2\n5,1,1,,1\n6,1,1,a,1\n"
    path = written(tmp_path, text, "day.csv")
    assert [fix.captured_at_s for fix in read_trace(path)] == [5, 6, 7]
    assert [t.vehicle for t in read_tracks(path).tracks] == ["a", "a"], "there is no other"


def test_positions_of_nobody_among_those_of_several_are_left_out(tmp_path: Path) -> None:
    text = "time,lat,lon,vehicle\n7,1,1,a\n5,1,1,\n6,1,1,b\n"
    path = written(tmp_path, text, "day.csv")
    read = read_tracks(path)
    assert [t.vehicle for t in read.tracks] == ["a", "b"]
    assert (read.rejected, read.faults) == (
        1,
        (f"{path}: a position names no vehicle, and others do",),
    )
    with pytest.raises(DataError, match="positions of 2 devices"):
        read_trace(path)


def test_traccar_csv_is_in_knots(tmp_path: Path) -> None:
    header = "id,deviceId,protocol,serverTime,deviceTime,fixTime,valid,latitude,longitude,speed"
    rows = (
        "1,7,osmand,x,2026-01-31T11:59:58.000+00:00,2026-01-31T12:00:00.000+00:00,true,1.5,2.5,10\n"
        "2,7,osmand,x,,2026-01-31T12:00:01.000+00:00,false,0.0,0.0,0\n"
    )
    trace = read_trace_counted(written(tmp_path, f"{header}\n{rows}", "route.csv"))
    assert (len(trace.fixes), trace.rejected) == (1, 1)
    assert trace.fixes[0].speed_mps == pytest.approx(10 * KNOT)
    assert trace.fixes[0].captured_at_s == NOON_S


def test_osmand_requests_as_a_server_logs_them(tmp_path: Path) -> None:
    text = (
        '1.2.3.4 - - [31/Jan] "GET /?id=9&lat=1.5&lon=2.5&timestamp=1769860800000&hdop=4.5'
        '&altitude=9&speed=3.5&bearing=90 HTTP/1.1" 200\n'
        "lat=1.6&lon=2.6&timestamp=1769860801&speed=-1\n"
        "http://host:5055/?lat=bad&lon=2.6&timestamp=1769860802\n"
        "something else\n"
    )
    trace = read_trace_counted(written(tmp_path, text, "access.log"))
    assert (trace.form, trace.rejected) == ("osmand", 1)
    first, second = trace.fixes
    assert (first.captured_at_s, first.speed_mps, first.heading_deg) == (NOON_S, 3.5, 90.0)
    assert (first.accuracy_m, second.speed_mps) == (4.5, None)


def test_gpsd_reports(tmp_path: Path) -> None:
    report = {"class": "TPV", "mode": 3, "time": "2026-01-31T12:00:00.000Z", "lat": 1.5, "lon": 2.5}
    lines = [
        '{"class":"VERSION","release":"3.22"}',
        json.dumps({"class": "TPV", "mode": 1}),
        json.dumps({**report, "speed": 3.5, "track": 90.0, "altMSL": 9.0, "eph": 8.0}),
        '{"class":"TPV","mode":3,"ti',
        json.dumps({**report, "lat": "north"}),
    ]
    trace = read_trace_counted(written(tmp_path, "\n".join(lines), "gpspipe.log"))
    (fix,) = trace.fixes
    assert (trace.form, trace.rejected) == ("gpsd", 2)
    assert (fix.captured_at_s, fix.speed_mps, fix.accuracy_m) == (NOON_S, 3.5, 4.0)
    assert ":4: " in trace.faults[0]


@pytest.mark.parametrize(
    ("columns", "expected_s"),
    [
        ({"time": "when:ms", "lat": "y", "lon": "x", "speed": "v:kmh"}, 1769860800.0),
        ({"time": "local@Europe/Berlin", "lat": "y", "lon": "x", "speed": "v:kmh"}, NOON_S - 3600),
    ],
)
def test_columns_are_mapped_with_units_and_zones(
    tmp_path: Path, columns: dict[str, str], expected_s: float
) -> None:
    text = "when;local;y;x;v\n1769860800000;2026-01-31 12:00:00;1,5;2,5;36\n"
    (fix,) = read_trace(written(tmp_path, text, "trip.txt"), columns)
    assert (fix.captured_at_s, fix.latitude_deg, fix.speed_mps) == pytest.approx(
        (expected_s, 1.5, 10.0)
    )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"time": "wen", "lat": "y", "lon": "x"}, "no column 'wen' for time; did you mean 'when'"),
        ({"time": "when:years", "lat": "y", "lon": "x"}, "units are s, ms, us, ns"),
        ({"time": "when@Mars/Base", "lat": "y", "lon": "x"}, "no time zone 'Mars/Base'"),
        ({"time": "when", "lat": "y"}, "no column for longitude_deg"),
        ({"colour": "when"}, "there is no field 'colour'"),
    ],
)
def test_a_wrong_mapping_is_named(tmp_path: Path, columns: dict[str, str], words: str) -> None:
    path = written(tmp_path, "when,y,x\n5,1,1\n", "trip.csv")
    with pytest.raises(DataError, match=words):
        read_trace(path, columns)


def test_wrong_rows_are_refused_or_counted_as_asked(tmp_path: Path) -> None:
    path = written(tmp_path, "time,lat,lon,speed\n5,1,1,nan\nx,1,1,2\n6,1,,2\n", "trip.csv")
    with pytest.raises(DataError, match=r"trip.csv:3: time 'x' is no time"):
        read_trace(path)
    trace = read_trace_counted(path)
    assert (len(trace.fixes), trace.rejected, trace.fixes[0].speed_mps) == (1, 2, None)
    assert trace.faults[1] == f"{path}:4: this point has no longitude_deg"


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "a.log", "the file is empty"),
        ("hello\nworld\n", "a.txt", "no fixes of a known form"),
        ('{"positions": 5, "fixTime": 1}', "a.json", "no list of positions"),
        ('[{"fixTime": ', "a.json", "this is no JSON"),
        ('{"class":"TPV","mode":1}', "a.json", "holds no fixes"),
    ],
)
def test_files_without_fixes_are_clear_errors(
    tmp_path: Path, text: str, name: str, words: str
) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_trace(written(tmp_path, text, name))
    assert caught.value.remedy
