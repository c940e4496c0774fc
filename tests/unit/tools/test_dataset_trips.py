"""Traces of other programs become datasets of trips: by vehicle, with a manifest."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehaul.errors import DataError, DatasetError, UsageError
from edgehaul_tools.dataset.check import check_dataset
from edgehaul_tools.dataset.import_command import import_command
from edgehaul_tools.dataset.manifest import read_manifest
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.series import read_series_dataset
from edgehaul_tools.dataset.traces import read_truck_dataset

FLEET = (
    "time,lat,lon,vehicle_id,trip_id\n"
    "1,1,1,A 1,x/1\n2,1,1,A 1,x/1\n1,2,2,../b,\n3,2,2,../b,\n9,1,1,A 1,2\n"
)


def imported(source: Path, out: Path, *options: object) -> dict[str, object]:
    arguments = [str(v) for v in (source, "--out", out, "--json", *options)]
    done = CliRunner().invoke(import_command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    return summary


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.csv"
    path.write_text(FLEET)
    return path


def test_each_vehicle_and_trip_becomes_a_trip_with_a_safe_name(fleet: Path, tmp_path: Path) -> None:
    summary = imported(fleet, tmp_path / "out")
    assert (summary["form"], summary["names"], summary["vehicles"]) == ("trips", 3, 2)
    trips = read_truck_dataset(tmp_path / "out")
    assert [(t.name, t.group, len(t.fixes)) for t in trips] == [
        ("fleet_A-1_2", "A 1", 1),
        ("fleet_A-1_x-1", "A 1", 2),
        ("fleet_b", "../b", 2),
    ]


def test_names_that_become_the_same_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    rows = "time,lat,lon,vehicle\n1,1,1,a/b\n1,2,2,a b\n"
    (tmp_path / "src" / "x.csv").write_text(rows)
    (tmp_path / "src" / "x_a-b.csv").write_text("time,lat,lon\n1,3,3\n")
    imported(tmp_path / "src", tmp_path / "out")
    trips = {t.name: t.group for t in read_truck_dataset(tmp_path / "out")}
    assert trips == {"x_a-b": "a b", "x_a-b-2": "a/b", "x_a-b-3": ""}


def test_the_manifest_tells_of_altered_and_missing_trips(fleet: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    imported(fleet, out, "--licence", "MIT", "--name", "buses", "--version", 3, "--origin", "me")
    manifest = read_manifest(out)
    assert (manifest.name, manifest.version) == ("buses", "3")
    assert (manifest.licence, manifest.origin) == ("MIT", "me")
    assert (manifest.task, manifest.counts) == ("trips", {"undivided": 3})
    assert [record.path for record in manifest.files] == [
        "labels.json",
        "trips/fleet_A-1_2.csv",
        "trips/fleet_A-1_x-1.csv",
        "trips/fleet_b.csv",
    ]
    (out / "trips" / "fleet_b.csv").write_text("time,lat,lon\n1,1,1\n")
    kinds = {f.kind: f.where for f in check_dataset(out).findings}
    assert kinds["manifest_altered"] == str(out / "trips" / "fleet_b.csv")
    (out / "trips" / "fleet_A-1_2.csv").unlink()
    kinds = {f.kind: f.where for f in check_dataset(out).findings}
    assert kinds["manifest_missing"] == str(out / "trips" / "fleet_A-1_2.csv")
    assert kinds["unusable"] == str(out / "trips" / "fleet_A-1_2.csv")


def test_series_have_a_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,v\n1,2\n2,3\n")
    columns = ("--column", "time=t", "--column", "value=v")
    imported(tmp_path / "a.csv", tmp_path / "out", *columns, "--licence", "CC0-1.0")
    manifest = read_manifest(tmp_path / "out")
    assert (manifest.task, manifest.licence, len(manifest.files)) == ("series", "CC0-1.0", 2)


@pytest.mark.parametrize("option", [("--every", 2), ("--fps", 1), ("--link", "hardlink")])
def test_options_for_pictures_are_refused(
    fleet: Path, tmp_path: Path, option: tuple[object, ...]
) -> None:
    with pytest.raises(UsageError, match=f"{option[0]} is for pictures"):
        imported(fleet, tmp_path / "out", *option)


SPEEDS = ("--column", "time=time", "--column", "speed=speed", "--column", "altitude=altitude")


def test_the_form_decides_between_trips_and_series(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("time,speed,altitude\n1,2,3\n2,1e39,4\n3,5,6\n")
    for name, form in (("a", ("--form", "series")), ("b", ())):
        summary = imported(path, tmp_path / name, *SPEEDS, *form)
        assert (summary["form"], summary["rejected"]) == ("series", 1)
        (got,) = read_series_dataset(tmp_path / name)
        assert (got.channels, got.time_s.tolist()) == (("speed", "altitude"), [1, 3])
    with pytest.raises(DataError, match="no column for latitude_deg"):
        imported(path, tmp_path / "c", *SPEEDS, "--form", "gps")
    with pytest.raises(DatasetError, match=r"nothing says which columns.*--column time=TITLE"):
        imported(path, tmp_path / "c", "--form", "series")


def test_columns_of_positions_are_a_series_only_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("time,lat,lon,speed,altitude\n1,2,3,4,5\n")
    assert imported(path, tmp_path / "a", *SPEEDS)["form"] == "trips"
    assert imported(path, tmp_path / "b", *SPEEDS, "--form", "series")["form"] == "series"


def test_every_file_that_is_lost_is_named(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir()
    (source / "good.csv").write_text("time,lat,lon\n1,1,1\n" + "x,1,1\n" * 50)
    (source / "also.csv").write_text("time,lat,lon\n1,1,1\nx,1,1\n")
    for number in range(30):
        (source / f"{number:02}.gpx").write_text("<gpx/>")
    for name in ("LICENSE.txt", "SOURCE.txt", "readme.txt"):
        (source / name).write_text("lat,lon,time")
    summary = imported(source, tmp_path / "out")
    assert list(summary).index("left_out") < list(summary).index("faults")
    assert summary["left_out"] == [
        f"{source / f'{number:02}.gpx'}: this trace holds no fixes" for number in range(30)
    ]
    faults = summary["faults"]
    assert isinstance(faults, list)
    assert [fault.partition(": ")[0] for fault in faults] == [
        f"{source / 'also.csv'}:3",
        *(f"{source / 'good.csv'}:{line}" for line in (3, 4, 5)),
    ]
    assert summary["rejected"] == 51
    told = CliRunner().invoke(import_command, [str(source), "--out", str(tmp_path / "again")])
    assert f"{source / '29.gpx'}: this trace holds no fixes" in told.stdout


@pytest.mark.parametrize("form", [(), ("--form", "gps")])
def test_an_archive_of_traces_is_unpacked(fleet: Path, tmp_path: Path, form: tuple[str]) -> None:
    with zipfile.ZipFile(tmp_path / "trips.zip", "w") as archive:
        archive.write(fleet, "day/fleet.csv")
        archive.writestr("day/broken.gpx", "<gpx")
        archive.writestr("day/README.txt", "about them")
    summary = imported(tmp_path / "trips.zip", tmp_path / "out", *form)
    assert (summary["name"], summary["names"]) == ("trips", 3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "dataset.json",
        "labels.json",
        "trips",
    ]
    assert f"['{tmp_path / 'trips.zip'}/day/broken.gpx:1: this is no" in str(summary["left_out"])


def test_an_archive_without_a_trace_says_which_file_is_wrong(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "trips.zip", "w") as archive:
        archive.writestr("broken.gpx", "<gpx")
    with pytest.raises(DataError, match="no well-formed XML") as caught:
        imported(tmp_path / "trips.zip", tmp_path / "out")
    assert caught.value.where == f"{tmp_path / 'trips.zip'}/broken.gpx:1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["trips.zip"]


def test_columns_of_pictures_are_refused(tmp_path: Path) -> None:
    (tmp_path / "src" / "cat").mkdir(parents=True)
    (tmp_path / "src" / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(UsageError, match="--column is for traces, and these are pictures"):
        imported(tmp_path / "src", tmp_path / "out", "--column", "time=t")


def test_a_table_of_pictures_is_no_table_of_positions(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label,lat,lon\nmissing.png,van,1,1\n")
    with pytest.raises(DatasetError, match=r"missing\.png"):
        imported(tmp_path / "labels.csv", tmp_path / "out")
    with pytest.raises(DatasetError, match=r"missing\.png"):
        read_dataset(tmp_path / "labels.csv")
