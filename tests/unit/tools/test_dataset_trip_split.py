"""Trips are divided by vehicle, copies stay together, and what leaks or is doubted is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul.motion.fixes import write_csv
from edgehaul.values import Fix
from edgehaul_tools.dataset.check import check_dataset
from edgehaul_tools.dataset.command import split_command
from edgehaul_tools.dataset.findings import Finding
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.statistics import trace_statistics
from edgehaul_tools.dataset.trace_split import given_traces, split_traces
from edgehaul_tools.dataset.traces import (
    AnomalySpan,
    LabelledTrace,
    read_truck_dataset,
    write_labels,
)
from edgehaul_tools.train.kept_split import split_of_recordings
from tests.unit.tools.test_dataset_series import series


def fixes(start_deg: float, count: int = 20) -> tuple[Fix, ...]:
    return tuple(
        Fix(captured_at_s=float(n), latitude_deg=start_deg + n * 1e-4, longitude_deg=7.0)
        for n in range(count)
    )


def trip(
    number: int, vehicle: str = "", label: str = "", place: float | None = None
) -> LabelledTrace:
    spans = (AnomalySpan(label, 1.0, 2.0),) if label else ()
    return LabelledTrace(f"t{number:02}", fixes(place or 1.0 + number), spans, vehicle)


def written(folder: Path, trips: list[LabelledTrace]) -> Path:
    (folder / "trips").mkdir(parents=True)
    for one in trips:
        write_csv(folder / "trips" / f"{one.name}.csv", one.fixes)
    spans = {one.name: one.anomalies for one in trips}
    write_labels(folder / "labels.json", spans, {one.name: one.group for one in trips})
    return folder


def part_of(parts: tuple[list[LabelledTrace], ...]) -> dict[str, int]:
    return {trace.name: number for number, part in enumerate(parts) for trace in part}


@pytest.mark.parametrize("seed", range(5))
def test_a_vehicle_and_copies_of_a_trip_stay_together(seed: int) -> None:
    trips = [trip(n, f"v{n % 5}") for n in range(15)]
    trips += [trip(n, place=50.0) for n in range(20, 23)]
    parts = split_traces(trips, SplitSection(train=0.5, val=0.25, test=0.25, seed=seed))
    assert all(parts)
    places = part_of(parts)
    assert sorted(places) == sorted(one.name for one in trips)
    for vehicle in range(5):
        assert len({places[f"t{n:02}"] for n in range(vehicle, 15, 5)}) == 1
    assert len({places[f"t{n}"] for n in range(20, 23)}) == 1


@pytest.mark.parametrize("seed", range(5))
def test_each_part_has_its_share_of_a_rare_label(seed: int) -> None:
    trips = [trip(n, label="rare" if n < 4 else "") for n in range(40)]
    parts = split_traces(trips, SplitSection(train=0.5, val=0.25, test=0.25, seed=seed))
    assert [len(part) for part in parts] == [20, 10, 10]
    assert [sum(bool(t.anomalies) for t in part) for part in parts] == [2, 1, 1]


def test_too_few_vehicles_are_an_error() -> None:
    trips = [trip(n, f"v{n % 2}") for n in range(10)]
    with pytest.raises(DatasetError, match="10 trips of 2 vehicles cannot make 3 parts"):
        split_traces(trips, SplitSection())
    train, val, test = split_traces(trips, SplitSection(train=0.7, val=0.3, test=0))
    assert (len(train), len(val), test) == (5, 5, [])


def split(*arguments: object) -> dict[str, dict[str, object]]:
    called = [str(a) for a in (*arguments, "--json")]
    done = CliRunner().invoke(split_command, called, catch_exceptions=False)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_the_command_names_the_trips_of_each_part(tmp_path: Path) -> None:
    data = written(tmp_path / "data", [trip(n, f"v{n % 4}", "slow") for n in range(12)])
    assert split(data, "--out", data, "--dry-run")["written"] is False
    assert not (data / "split.json").exists()
    summary = split(data, "--out", data)
    assert [summary[part]["recordings"] for part in ("train", "val", "test")] == [6, 3, 3]
    assert summary["val"]["vehicles"] == 1
    assert summary["val"]["spans"] == {"slow": 3}
    trips = read_truck_dataset(data)
    given = given_traces(trips, data)
    assert given == split_traces(trips, SplitSection())
    assert [f.kind for f in check_dataset(data).findings] == []
    assert trace_statistics(data)["vehicles"] == 4
    with pytest.raises(UsageError, match="--group-by is for pictures"):
        split(data, "--out", data, "--group-by", "folder")
    with pytest.raises(UsageError, match="sum to 1"):
        split(data, "--out", data, "--fractions", 0.5, 0.1, 0.1)


def test_series_are_divided_too(tmp_path: Path) -> None:
    many = [series([0, 1], [number, 2.0], name=f"s{number}") for number in range(4)]
    write_series_dataset(tmp_path, [*many, Series("copy", *_of(many[0]))])
    split(tmp_path, "--out", tmp_path)
    named = json.loads((tmp_path / "split.json").read_text())
    assert sorted(name for part in named.values() for name in part) == [
        "copy",
        *(f"s{number}" for number in range(4)),
    ]
    assert any({"copy", "s0"} <= set(part) for part in named.values())


def _of(one: Series) -> tuple[object, ...]:
    return one.time_s + 9, one.channels, one.values


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "it does not come in parts.*run: edgehaul data split"),
        ("{", "this is no split"),
        ('{"train": ["t00", "gone"]}', "gone is not here"),
        ('{"train": ["t00"], "val": ["t00"]}', "t00 is named twice"),
        ('{"train": ["t00"], "exam": ["t01"]}', "exam is no part"),
        ('{"val": ["t00"]}', "no train part is named"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(
    tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "split.json").write_text(content)
    with pytest.raises(DatasetError, match=words):
        given_traces([trip(0), trip(1)], tmp_path)


def test_the_split_that_a_run_keeps_can_be_given(tmp_path: Path) -> None:
    trips = [trip(number) for number in range(8)]
    parts = split_traces(trips, SplitSection())
    split_of_recordings(parts).write(tmp_path)
    assert given_traces(trips, tmp_path) == parts


def found(data: Path, kind: str) -> list[Finding]:
    return [finding for finding in check_dataset(data).findings if finding.kind == kind]


def test_a_vehicle_or_a_copy_in_two_parts_is_a_leak(tmp_path: Path) -> None:
    trips = [trip(0, "a"), trip(1, "a"), trip(2, place=5.0), trip(3, place=5.0), trip(4)]
    data = written(tmp_path / "data", trips)
    named = {"train": ["t00", "t02"], "val": ["t01"], "test": ["t03"]}
    (data / "split.json").write_text(json.dumps(named))
    (leak,) = found(data, "leak_group")
    assert (leak.where, "train, val" in leak.what) == ("a", True)
    (copy,) = found(data, "leak")
    assert copy.severity == "error"
    assert copy.what == "the same recording is in test, train: t03 (test)"
    (data / "split.json").write_text('{"train": ["gone"]}')
    (wrong,) = found(data, "split")
    assert "gone is not here" in wrong.what


@pytest.mark.parametrize(
    ("every", "severity"), [(0, None), (200, None), (50, "warning"), (4, "error")]
)
def test_positions_that_cleaning_does_not_believe_are_told(
    tmp_path: Path, every: int, severity: str | None
) -> None:
    far = [
        Fix(captured_at_s=f.captured_at_s, latitude_deg=-40.0, longitude_deg=-n * 3.0 % 180)
        if every and n % every == every - 1
        else f
        for n, f in enumerate(fixes(1.0, 200))
    ]
    data = written(tmp_path / "data", [LabelledTrace("jumpy", tuple(far), ())])
    doubts = found(data, "fixes_doubted")
    assert [f.severity for f in doubts] == ([severity] if severity else [])
    if doubts:
        assert doubts[0].what.startswith(f"{200 // every} of 200 fixes are not believed (jumps")


def test_speeds_that_no_truck_reaches_so_soon_are_told(tmp_path: Path) -> None:
    wild = [
        Fix(
            captured_at_s=float(n),
            latitude_deg=1.0 + n * 1e-4,
            longitude_deg=7.0,
            speed_mps=60.0 if n % 20 == 19 else 11.0 + 0.1 * (n % 3),
        )
        for n in range(200)
    ]
    data = written(tmp_path / "data", [LabelledTrace("wild", tuple(wild), ())])
    (doubt,) = found(data, "speeds_doubted")
    assert doubt.what.startswith("10 of 200 speeds are not believed")


def test_samples_of_a_series_are_not_called_fixes(tmp_path: Path) -> None:
    write_series_dataset(tmp_path, [series([0, 1, 2], [1.0, 2, 3])])
    (short,) = found(tmp_path, "trip_empty")
    assert short.what == "it has 3 samples"
