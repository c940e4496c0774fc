"""Series are read, written and cut to windows; recordings of other programs become datasets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehaul.errors import DataError, DatasetError
from edgehaul_tools.dataset.series import (
    Series,
    read_series_dataset,
    windows_of_series,
    write_series_dataset,
)
from edgehaul_tools.dataset.trace_import import holds_traces, import_traces
from edgehaul_tools.dataset.traces import AnomalySpan, read_truck_dataset

SPAN = AnomalySpan("event", 3.0, 4.5)


def series(times: list[float], *columns: list[float], **options: object) -> Series:
    values = np.array(columns, dtype=np.float32).T
    names = tuple("abc"[: len(columns)])
    return Series(str(options.get("name", "one")), np.array(times), names, values, (SPAN,))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A dataset with one series of two channels and a missing value."""
    write_series_dataset(tmp_path, [series([0, 1, 2.5], [0.1, 2, 3], [5, np.nan, 7])])
    return tmp_path


def test_what_is_written_is_read_back(dataset: Path) -> None:
    (got,) = read_series_dataset(dataset)
    assert (got.name, got.channels, got.spans) == ("one", ("a", "b"), (SPAN,))
    assert got.time_s.tolist() == [0, 1, 2.5]
    np.testing.assert_array_equal(got.values, np.float32([[0.1, 5], [2, np.nan], [3, 7]]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("t,a\n1,2\n", "one.csv:1: the first line is not time_s"),
        ("time_s,a,a\n1,2,3\n", "one.csv:1: the first line is not time_s"),
        ("time_s,a\n1,x\n", "one.csv:2: could not convert"),
        ("time_s,a\n1\n", "one.csv:2: 1 cells instead of 2"),
        ("time_s,a\n1,inf\n", "one.csv:2: a value is infinite"),
        ("time_s,a\n1,3.5e38\n", "one.csv:2: a value is infinite"),
        ("time_s,a\nnan,1\n", "one.csv:2: a value is infinite, or the time missing"),
        ("time_s,a\n", "this series is empty"),
    ],
)
def test_a_wrong_series_is_named(dataset: Path, text: str, words: str) -> None:
    (dataset / "series" / "one.csv").write_text(text)
    with pytest.raises(DatasetError, match=words):
        read_series_dataset(dataset)


def test_rows_are_sorted_and_of_equal_times_the_first_counts(dataset: Path) -> None:
    (dataset / "series" / "one.csv").write_text("time_s,a\n2,1\n1,2\n2,3\n")
    (got,) = read_series_dataset(dataset)
    assert (got.time_s.tolist(), got.values[:, 0].tolist()) == ([1, 2], [2, 1])


def test_series_of_other_channels_and_missing_files_are_all_named(dataset: Path) -> None:
    (dataset / "series" / "two.csv").write_text("time_s,z\n1,2\n")
    labels = {"labels": ["event"], "trips": {"one": [], "two": [], "three": []}}
    (dataset / "labels.json").write_text(json.dumps(labels))
    with pytest.raises(
        DatasetError, match=r"2 faults.*three.csv.*series two: channels z"
    ) as caught:
        read_series_dataset(dataset)
    assert caught.value.remedy


def test_windows_of_even_samples_are_the_samples() -> None:
    starts, windows = windows_of_series(series(list(range(10)), list(range(10))), 1.0, 4, hop=3)
    assert starts.tolist() == [0, 3, 6]
    assert windows.shape == (3, 4, 1)
    assert windows.dtype == np.float32
    assert windows[1, :, 0].tolist() == [3, 4, 5, 6]


def test_many_samples_in_a_step_are_averaged_and_few_are_interpolated() -> None:
    times = [i / 10 for i in range(41)]
    alternating = [float(i % 2) for i in range(41)]
    _, windows = windows_of_series(series(times, alternating), 1.0, 2)
    np.testing.assert_allclose(windows[:, 1, 0], 0.5)
    _, fine = windows_of_series(series([0, 1, 2], [0, 10, 20]), 0.25, 9)
    np.testing.assert_allclose(fine[0, :, 0], np.arange(9) * 2.5)


def test_no_window_reaches_across_an_outage_or_a_missing_value() -> None:
    times = [*range(10), *range(16, 26)]
    starts, _ = windows_of_series(series(times, [0.0] * 20), 1.0, 10)
    assert starts.tolist() == [0, 16]
    values = [0.0, np.nan, 2.0, *[3.0] * 7]
    _, windows = windows_of_series(series(list(range(10)), values), 1.0, 10)
    assert windows[0, 1, 0] == 1.0, "a short gap is bridged"
    nothing = windows_of_series(series([0, 1], [np.nan, np.nan]), 1.0, 2)
    assert nothing[1].shape == (0, 2, 1)


@settings(max_examples=40)
@given(
    gaps=st.lists(st.floats(0.01, 9), min_size=1, max_size=60),
    interval_s=st.floats(0.1, 4),
    window=st.integers(1, 6),
)
def test_windows_stay_within_what_was_measured(
    gaps: list[float], interval_s: float, window: int
) -> None:
    times = np.cumsum([0.0, *gaps])
    values = np.sin(times)[:, None].astype(np.float32)
    one = Series("x", times, ("a",), values)
    starts, windows = windows_of_series(one, interval_s, window)
    assert (np.diff(starts) > 0).all()
    assert (starts + (window - 1) * interval_s <= times[-1] + 1e-5 * interval_s).all()
    if len(windows):
        assert windows.min() >= values.min() - 1e-6
        assert windows.max() <= values.max() + 1e-6


NMEA = (
    b"$GPRMC,120000,A,5130.00,N,00012.00,W,19.4,84.4,310126,,\r\n"
    b"$GPRMC,120001,A,5130.01,N,00012.00,W,19.4,84.4,310126,,\r\n"
)


def test_a_folder_of_traces_becomes_a_dataset_of_trips(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "day").mkdir(parents=True)
    (source / "day" / "truck.nmea").write_bytes(NMEA)
    (source / "bus.csv").write_text("time,lat,lon\n5,1,1\nbad,1,1\n")
    (source / "bus.gpx").write_text("<gpx/>")
    (source / "notes.txt").write_text("nothing")
    assert holds_traces(source)
    seen: list[tuple[int, int]] = []
    done = import_traces(source, tmp_path / "out", progress=lambda a, b: seen.append((a, b)))
    assert (done.kind, done.names, done.count) == ("trips", ("bus", "day_truck"), 3)
    assert (done.rejected, done.faults) == (
        1,
        (f"{source / 'bus.csv'}:3: time 'bad' is no time such as 2026-01-31T12:00:00Z",),
    )
    assert done.left_out == (
        f"{source / 'bus.gpx'}: bus.csv has the same name",
        f"{source / 'notes.txt'}: this trace holds no fixes of a known form",
    )
    assert seen[-1][1] == 4
    assert [(t.name, len(t.fixes)) for t in read_truck_dataset(tmp_path / "out")] == [
        ("bus", 1),
        ("day_truck", 2),
    ]


def test_mapped_channels_become_a_dataset_of_series(tmp_path: Path) -> None:
    path = tmp_path / "imu.csv"
    path.write_text("uptimeNanos,x,y\n1000000000,1,2\n1500000000,3,\nbad,1,1\n")
    columns = {"time": "uptimeNanos:ns", "accel_x": "x", "accel_y": "y"}
    done = import_traces(path, tmp_path / "out", columns)
    assert (done.kind, done.names, done.count, done.rejected) == ("series", ("imu",), 2, 1)
    (got,) = read_series_dataset(tmp_path / "out")
    assert (got.channels, got.time_s.tolist()) == (("accel_x", "accel_y"), [1.0, 1.5])
    with pytest.raises(DataError, match="no column 'z' for accel_z; There are: uptimeNanos, x, y"):
        import_traces(path, tmp_path / "other", {"time": "uptimeNanos:ns", "accel_z": "z"})
    with pytest.raises(DataError, match="needs a time and a channel"):
        import_traces(path, tmp_path / "other", {"accel_x": "x"})
    assert not (tmp_path / "other").exists()


def test_imports_that_cannot_be_leave_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DatasetError, match="no traces are here"):
        import_traces(source, tmp_path / "out")
    (source / "a.csv").write_text("x\n")
    (source / "b.csv").write_text("y\n")
    with pytest.raises(DatasetError, match=r"no traces are here; mend these.*no column for time"):
        import_traces(source, tmp_path / "out")
    with pytest.raises(DatasetError, match="no such file or folder"):
        import_traces(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(DatasetError, match="no empty folder"):
        import_traces(source, source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_a_dataset_is_not_imported_again_without_its_labels(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="a dataset of trips or series already"):
        import_traces(dataset, tmp_path / "out")


def test_nab_keeps_its_anomalies(tmp_path: Path) -> None:
    root = tmp_path / "nab"
    (root / "labels").mkdir(parents=True)
    (root / "real").mkdir()
    (root / "real" / "speed.csv").write_text(
        "timestamp,value\n2015-09-01 00:00:00,1\n2015-09-01 00:05:00,2\n"
    )
    (root / "real" / "other.csv").write_text("timestamp,value\n2015-09-01 00:00:00,1\n")
    windows = {"real/speed.csv": [["2015-09-01 00:01:00.000000", "2015-09-01 00:04:00.000000"]]}
    (root / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    done = import_traces(root / "real", tmp_path / "out")
    assert (done.names, done.spans, done.rejected) == (("real_speed",), 1, 0)
    assert done.left_out == (f"{root / 'real' / 'other.csv'}: NAB's labels do not name it",)
    assert done.manifest.objects == {"anomaly": 1}
    (got,) = read_series_dataset(tmp_path / "out")
    (span,) = got.spans
    assert span.label == "anomaly"
    assert (span.started_at_s - got.time_s[0], span.ended_at_s - got.time_s[0]) == (60, 240)


@pytest.mark.shared_data
def test_the_driver_behaviour_set(shared_data: Path, tmp_path: Path) -> None:
    done = import_traces(shared_data / "gps" / "driver_behavior" / "17", tmp_path / "out")
    assert (done.kind, done.names, done.spans) == ("series", ("trip_17",), 14)
    (trip,) = read_series_dataset(tmp_path / "out")
    assert trip.channels == ("accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z")
    assert trip.median_interval_s == pytest.approx(0.02, abs=1e-6)
    assert {span.label for span in trip.spans} == {
        "aggressive_lane_change_right",
        "aggressive_braking",
        "aggressive_acceleration",
    }
    braking = next(span for span in trip.spans if span.label == "aggressive_braking")
    inside = (trip.time_s >= braking.started_at_s) & (trip.time_s <= braking.ended_at_s)
    jolt = np.abs(np.diff(trip.values[inside, :2], axis=0)).max()
    assert jolt > 0
    gravity = np.linalg.norm(trip.values[:, :3], axis=1).mean()
    assert gravity == pytest.approx(9.8, abs=0.3)


@pytest.mark.shared_data
def test_all_of_nab(shared_data: Path, tmp_path: Path) -> None:
    done = import_traces(shared_data / "series" / "nab" / "realTraffic", tmp_path / "out")
    assert (len(done.names), done.spans, done.rejected) == (7, 14, 0)
    assert sum(len(one.time_s) for one in read_series_dataset(tmp_path / "out")) == done.count
