"""What is refused of trips, geofences, routes and driving, and how that is told."""

import json
from pathlib import Path

import pytest

from edgehaul.config.device import DeviceConfig, GpsConfig
from edgehaul.config.geojson import read_fences
from edgehaul.config.loader import load_text
from edgehaul.config.vehicle import Circle, Geofence, Place
from edgehaul.errors import ConfigError

SQUARE = "[[52, 4], [52, 5], [53, 5], [53, 4]]"


def gps(text: str) -> GpsConfig:
    head = "root: r\ndevice: {id: a, site: s}\n"
    whole = f"{head}gps: [{{name: v, source: {{type: trace, path: p}}, {text}}}]"
    return load_text(whole, DeviceConfig, where="f.yaml").gps[0]


def test_nothing_is_told_unless_it_is_named() -> None:
    assert gps("model: m").vehicle.is_empty
    assert gps("trips: {}").trips.stop_after_s == 300
    assert gps("driving: {}").driving.speed_limit_mps is None


def test_all_sections() -> None:
    config = gps(
        "trips: {stop_after_s: 120}, driving: {speed_limit_mps: 25, tolerance_mps: 2}, "
        "geofences: {file: a.json, fences: ["
        f"{{name: yard, polygon: {SQUARE}, dwell_after_s: 60}}, "
        "{name: gate, circle: {center: [52.1, 4.2], radius_m: 80}}]}, "
        "routes: [{name: r, points: [[52, 4], [52, 5]], corridor_m: 200}]"
    )
    yard, gate = config.geofences.fences
    assert yard.polygon[1] == Place(52, 5)
    assert gate.circle == Circle(center=Place(52.1, 4.2), radius_m=80)
    assert config.routes[0].corridor_m == 200


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "trips: {gap_after_s: 60, gap_ends_after_s: 30}",
            "gps[0].trips.gap_ends_after_s: gap_ends",
        ),
        ("trips: {stop_after: 60}", "did you mean 'stop_after_s'"),
        ("trips: {stop_after_s: 1}", "expected at least 10"),
        ("driving: {braking_mps2: 0.1}", "expected at least 1"),
        ("geofences: {fences: [{name: a}]}", "give either a circle or a polygon"),
        (
            (
                f"geofences: {{fences: [{{name: a, polygon: {SQUARE}}}, "
                f"{{name: a, polygon: {SQUARE}}}]}}"
            ),
            "'a' stands twice",
        ),
        ("geofences: {fences: [{name: a, polygon: [[52, 4], [52, 5]]}]}", "at least three"),
        ("geofences: {fences: [{name: a, polygon: [[91, 4], [52, 5], [52, 6]]}]}", "at most 90"),
        (
            "geofences: {fences: [{name: a, polygon: [[52, 4], [53, 5], [52, 5], [53, 4]]}]}",
            "the edges after corners 1 and 3 cross",
        ),
        (
            "geofences: {fences: [{name: a, polygon: [[80, 0], [80, 120], [80, -120]]}]}",
            "it goes round a pole; use a circle",
        ),
        (
            "geofences: {fences: [{name: a, polygon: [[89.5, 0], [80, 10], [80, -10]]}]}",
            "too near a pole",
        ),
        (
            "geofences: {fences: [{name: a, polygon: [[0, 0], [1, 180], [2, 10]]}]}",
            "may go either way round",
        ),
        ("geofences: {fences: [{name: a, circle: {center: [0, 0], radius_m: 0}}]}", "greater than"),
        ("routes: [{name: r, points: [[52, 4], [52, 4]]}]", "at least two places"),
        (
            (
                "routes: [{name: r, points: [[52, 4], [52, 5]]}, "
                "{name: r, points: [[52, 4], [52, 5]]}]"
            ),
            "'r' stands twice",
        ),
    ],
)
def test_faults_name_the_place_and_what_to_do(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        gps(text)
    assert any(line.startswith("f.yaml:3:") and fault in line for line in caught.value.faults)


def feature(geometry: object, **properties: object) -> dict[str, object]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


RING = [[4, 52], [5, 52], [5, 53], [4, 53], [4, 52]]
HOLE = [[4.4, 52.4], [4.6, 52.4], [4.6, 52.6], [4.4, 52.6], [4.4, 52.4]]


def written(folder: Path, *features: object) -> Path:
    path = folder / "areas.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_geojson_has_longitude_first_closed_rings_and_holes(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        feature({"type": "Polygon", "coordinates": [RING, HOLE]}, name="a", color="red"),
        feature({"type": "MultiPolygon", "coordinates": [[RING], [HOLE]]}, name="b"),
        feature(
            {"type": "Point", "coordinates": [4, 52, 7]}, name="c", radius_m=50, dwell_after_s=9
        ),
    )
    first, second, third = read_fences(path)
    corners = (Place(52, 4), Place(52, 5), Place(53, 5), Place(53, 4))
    assert first.polygon == second.polygon == corners
    assert len(first.rings) == len(second.rings) == 1
    assert third == Geofence(
        name="c", circle=Circle(center=Place(52, 4), radius_m=50), dwell_after_s=9
    )


def test_every_fault_of_a_geojson_file_at_once(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        feature({"type": "Polygon", "coordinates": [RING]}),
        feature({"type": "LineString", "coordinates": RING}, name="line"),
        feature({"type": "Point", "coordinates": [4, 52]}, name="dot"),
        feature({"type": "Polygon", "coordinates": [[[4, 52], [5, 52]]]}, name="flat"),
        feature({"type": "Polygon", "coordinates": [[[400, 52], [5, 52], [5, 53]]]}, name="far"),
        feature({"type": "Polygon", "coordinates": 7}, name="odd"),
        feature(None, name="none"),
        feature({"type": "Polygon", "coordinates": [RING]}, name="twice"),
        feature({"type": "Polygon", "coordinates": [RING]}, name="twice"),
    )
    with pytest.raises(ConfigError) as caught:
        read_fences(path)
    faults = caught.value.faults
    assert [fault.split("]")[0].rsplit("[")[-1] for fault in faults[:-1]] == list("0123456")
    for fault, said in zip(
        faults,
        (
            "no name",
            "got LineString",
            "radius_m",
            "at least three",
            "<= 180",
            "a list",
            "nothing",
            "'twice'",
        ),
        strict=True,
    ):
        assert said in fault


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no GeoJSON"),
        (b"[]", "no GeoJSON"),
        (b'{"type": "Feature"}', "expected a FeatureCollection"),
        (b"\xff\xfe", "no GeoJSON"),
    ],
)
def test_files_that_are_something_else(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "areas.geojson"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        read_fences(path)
    with pytest.raises(ConfigError, match="cannot read the geofences: no such file"):
        read_fences(tmp_path / "missing.geojson")
