"""Traces are read from what other programs write, and a bad row is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.errors import DataError
from edgehaul.motion.fixes import read_trace, read_tracks, write_csv
from edgehaul.values import Fix

optional = st.none() | st.floats(0, 1000)


def written(folder: Path, text: str, name: str = "trip.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@given(
    fixes=st.lists(
        st.builds(
            Fix,
            captured_at_s=st.floats(1e9, 2e9),
            latitude_deg=st.floats(-90, 90),
            longitude_deg=st.floats(-180, 180),
            speed_mps=optional,
            heading_deg=st.none() | st.floats(0, 359.9),
            altitude_m=optional,
            accuracy_m=optional,
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, fixes: list[Fix]
) -> None:
    path = tmp_path_factory.mktemp("trace") / "trip.csv"
    write_csv(path, fixes)
    assert read_trace(path) == tuple(sorted(fixes, key=lambda fix: fix.captured_at_s))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time,lat,lon\n2026-01-31T12:00:00Z,1.5,2.5\n", (1769860800.0, None, None)),
        (
            "\ufefftimestamp,latitude,longitude\n2026-01-31 12:00:00,1.5,2.5\n",
            (1769860800.0, None, None),
        ),
        ("Date Time,LAT,LNG\n2026-01-31T13:00:00+01:00,1.5,2.5\n", (1769860800.0, None, None)),
        ("lon,lat,t,speed_kmh,course\n2.5,1.5,1769860800000,36,370\n", (1769860800.0, 10.0, 10.0)),
        ("time,lat,lon,speed,bearing\n1769860800.5,1.5,2.5,-1,-1\n", (1769860800.5, None, None)),
        ("time,lat,lon,speed_knots,x\n5,1.5,2.5,1,?\n\n", (5.0, 1852 / 3600, None)),
        ("time,lat,lon,speed_mps,heading\n5,1.5,2.5\n", (5.0, None, None)),
        ("time,lat,lon,speed_mps,heading\n5,1.5,2.5, ,-90\n", (5.0, None, 270.0)),
    ],
)
def test_columns_times_and_units_of_other_programs(
    tmp_path: Path, text: str, expected: tuple
) -> None:
    (fix,) = read_trace(written(tmp_path, text))
    assert (fix.latitude_deg, fix.longitude_deg) == (1.5, 2.5)
    assert (fix.captured_at_s, fix.speed_mps, fix.heading_deg) == pytest.approx(expected)


def test_rows_are_sorted_by_time(tmp_path: Path) -> None:
    path = written(tmp_path, "time,lat,lon\n7,1,1\n5,2,2\n6,3,3\n")
    assert [fix.captured_at_s for fix in read_trace(path)] == [5, 6, 7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,lat,lon\n5,1,1\nx,1,1\n", r"trip.csv:3: time 'x' is no time"),
        ("time,lat,lon\n5,91,1\n", r"trip.csv:2: latitude 91 is outside -90..90"),
        ("time,lat,lon\n5,1,-181\n", r"trip.csv:2: longitude -181 is outside"),
        ("time,lat,lon\n5,nan,1\n", r"trip.csv:2: latitude 'nan' is no number"),
        ("time,lat,lon\ninf,1,1\n", r"trip.csv:2: time 'inf' is no time"),
        ("time,lat,lon\n99999999999999999,1,1\n", r"trip.csv:2: time '9{17}' is no time"),
        (
            "time,lat,lon\n0001-01-01T00:00:00+05:00,1,1\n",
            r"trip.csv:2: time '0001-\S+' is outside the years 1 to 9999",
        ),
        ("time,lat,lon,speed\n5,1,1,fast\n", r"trip.csv:2: speed_mps 'fast' is no number"),
        ("time,lat,lon\n5,1\n", r"trip.csv:2: this point has no longitude_deg"),
        ("time,x,y\n5,1,1\n", r"trip.csv:1: no column for latitude_deg, longitude_deg"),
        ("", r"trip.csv:1: no column for time"),
        ("time,lat,lon\n", r"trip.csv: this trace holds no fixes"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_trace(written(tmp_path, text))
    assert caught.value.remedy


def test_files_that_are_no_traces(tmp_path: Path) -> None:
    binary = tmp_path / "trip.csv"
    binary.write_bytes(b"time,lat,lon\n\xff\xfe\x00\n")
    with pytest.raises(DataError, match="this is no CSV text"):
        read_trace(binary)
    with pytest.raises(DataError, match="cannot read the trace"):
        read_trace(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="cannot read the trace"):
        read_trace(tmp_path / "absent.gpx")
    with pytest.raises(DataError, match=r"give a \.csv or \.gpx file"):
        read_trace(tmp_path / "trip.kml")
    with pytest.raises(DataError, match="cannot write the trace"):
        write_csv(tmp_path / "absent" / "trip.csv", [])


GPX = """<?xml version="1.0"?>
<gpx xmlns:x="urn:any"><metadata><time>1999-01-01T00:00:00Z</time></metadata>
<wpt lat="9" lon="9"><time>1999-01-01T00:00:00Z</time></wpt>
<trk><trkseg>
<trkpt lat="1.5" lon="2.5"><ele>12.5</ele><time> 2026-01-31T12:00:00Z </time>
 <extensions><x:TrackPointExtension><x:speed>3.5</x:speed><x:course>90</x:course>
 </x:TrackPointExtension></extensions></trkpt>
<trkpt lat="1.6" lon="2.6"><time>2026-01-31T12:00:01Z</time></trkpt>
</trkseg></trk></gpx>"""


def test_gpx_track_points_with_extensions(tmp_path: Path) -> None:
    first, second = read_trace(written(tmp_path, GPX, "trip.gpx"))
    assert first == Fix(
        captured_at_s=1769860800.0,
        latitude_deg=1.5,
        longitude_deg=2.5,
        speed_mps=3.5,
        heading_deg=90.0,
        altitude_m=12.5,
    )
    assert (second.captured_at_s, second.speed_mps) == (1769860801.0, None)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<time>2026-01-31T12:00:01Z</time>", "", "trip.gpx:8: this point has no time"),
        ("</trkseg>", "", "trip.gpx:9: this is no well-formed XML: mismatched tag"),
        ('lat="1.6"', 'lat="16e9"', "trip.gpx:8: latitude 16e9 is outside"),
        ("trkpt", "rtept", "trip.gpx: this trace holds no fixes"),
        (
            '<?xml version="1.0"?>',
            '<!DOCTYPE gpx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>',
            "trip.gpx:1: entity 'a' is declared",
        ),
    ],
)
def test_a_bad_gpx_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_trace(written(tmp_path, GPX.replace(old, new), "trip.gpx"))


@pytest.mark.shared_data
def test_real_files_are_read_or_refused_by_line(shared_data: Path) -> None:
    folder = shared_data / "gps" / "gpx_gpxpy" / "test_files"
    counts = {}
    for path in sorted(folder.glob("*.gpx")):
        try:
            counts[path.name] = len(read_trace(path))
        except DataError as error:
            assert path.name in str(error)  # noqa: PT017 - each file may be one or the other
    assert counts["cerknicko-jezero.gpx"] == 296
    assert counts["track_with_speed.gpx"] == 3
    buses = shared_data / "gps/gps_liverpool_bus/route14_outbound.csv"
    with pytest.raises(DataError, match=r"positions of 8 devices: 4716, 4720, .*, \.\.\."):
        read_trace(buses)
    tracks = read_tracks(buses).tracks
    assert len(tracks) == 16
    assert sum(len(track.fixes) for track in tracks) == 1533
