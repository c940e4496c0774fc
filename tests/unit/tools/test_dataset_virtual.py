import json
import math
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehaul.errors import DataError, DatasetError, UsageError
from edgehaul.motion.fixes import read_trace
from edgehaul.virtual.conveyor import PARCEL_LABELS
from edgehaul.virtual.truck import ANOMALY_LABELS, TruckTrip
from edgehaul_tools.commands import edgehaul
from edgehaul_tools.dataset.manifest import read_manifest, verify_manifest
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.traces import read_truck_dataset
from edgehaul_tools.dataset.virtual import (
    Progress,
    generate_conveyor_dataset,
    generate_truck_dataset,
)


def test_a_conveyor_dataset_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    made = generate_conveyor_dataset(
        tmp_path / "one", 13, 5, width=320, height=240, progress=lambda *done: told.append(done)
    )
    read = read_dataset(tmp_path / "one")

    assert read == made
    assert read.labels == PARCEL_LABELS
    assert len(read) == 13
    assert len({sample.group for sample in read.samples}) == 10
    assert any(sample.ignored for sample in read.samples)
    assert told[-1] == (13, 13)


def test_a_conveyor_dataset_says_what_it_is(tmp_path: Path) -> None:
    out = tmp_path / "one"
    generate_conveyor_dataset(out, 3, 5, width=320, height=240)
    manifest = read_manifest(out)

    assert not verify_manifest(out)
    assert (manifest.name, manifest.version, manifest.licence) == (
        "virtual conveyor",
        "1",
        "CC0-1.0",
    )
    assert manifest.counts == {"undivided": 3}
    # It says how to make it again.
    _, *arguments = manifest.origin.split()
    again = CliRunner().invoke(edgehaul, [*arguments, "--out", str(tmp_path / "two")])
    assert again.exit_code == 0
    assert read_manifest(tmp_path / "two").digest == manifest.digest


def interrupted(done: int, _total: int) -> None:
    if done == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("what", ["conveyor", "truck"])
def test_an_interrupt_leaves_nothing(tmp_path: Path, what: str) -> None:
    out = tmp_path / "new"

    def make(progress: Progress | None) -> None:
        if what == "conveyor":
            generate_conveyor_dataset(out, 3, 5, width=128, height=96, progress=progress)
        else:
            generate_truck_dataset(out, 3, 5, duration_s=60, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        make(interrupted)
    assert not list(tmp_path.iterdir())
    make(None)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DatasetError, match="cannot be written"):
            generate_conveyor_dataset(tmp_path / "a", 2, 0)
        with pytest.raises(DataError, match=r"cannot write the trace"):
            generate_truck_dataset(tmp_path / "b", 1, 0, duration_s=600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        generate_conveyor_dataset(tmp_path / name, 3, seed, width=128, height=96)
    content = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).rglob("*.*"))]
        for name in "abc"
    }

    assert content["a"] == content["b"]
    assert content["a"] != content["c"]


def test_a_truck_dataset_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    generate_truck_dataset(tmp_path / "trips", 2, 4, duration_s=1200)
    traces = read_truck_dataset(tmp_path / "trips")
    trip = TruckTrip(seed=int(traces[1].name.removeprefix("truck_")), duration_s=1200)

    assert len(traces) == 2
    assert traces[1].fixes == trip.fixes
    assert [a.label for a in traces[1].anomalies] == [a.label for a in trip.anomalies]
    assert {a.label for a in traces[0].anomalies} == set(ANOMALY_LABELS)
    from_gpx = read_trace(tmp_path / "trips" / "trips" / f"{trip_name(trip)}.gpx")
    assert len(from_gpx) == len(trip.fixes)
    assert from_gpx[50].speed_mps == pytest.approx(trip.fixes[50].speed_mps, abs=0.01)
    assert from_gpx[50].heading_deg == pytest.approx(trip.fixes[50].heading_deg, abs=0.1)


def trip_name(trip: TruckTrip) -> str:
    return f"truck_{trip.seed:08d}"


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="no empty folder"):
        generate_conveyor_dataset(tmp_path, 3, 0)
    with pytest.raises(DatasetError, match="no empty folder"):
        generate_truck_dataset(tmp_path, 1, 0)


def test_numbers_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="0 pictures"):
        generate_conveyor_dataset(tmp_path / "a", 0, 0)
    with pytest.raises(UsageError, match="20000 trips"):
        generate_truck_dataset(tmp_path / "b", 20_000, 0)
    with pytest.raises(UsageError, match="96"):
        generate_conveyor_dataset(tmp_path / "c", 1, 0, width=100, height=200)
    for duration_s in (math.inf, math.nan, 1.0):
        with pytest.raises(UsageError, match="60 s to 7 days"):
            generate_truck_dataset(tmp_path / "d", 1, 0, duration_s=duration_s)
    # Nothing is left behind that would stand in the way of the next try.
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("span", "message"),
    [
        ({"label": "singing"}, "label 'singing' is not one of speeding"),
        ({"ended_at": "2020-01-01T00:00:00Z"}, "before it starts"),
        ({"started_at": "yesterday"}, "yesterday"),
    ],
)
def test_wrong_labels_of_trips(tmp_path: Path, span: dict[str, str], message: str) -> None:
    good = {
        "label": "speeding",
        "started_at": "2026-01-05T07:00:00Z",
        "ended_at": "2026-01-05T07:00:09Z",
    }
    content = {"labels": ["speeding"], "trips": {"one": [good | span], "two": []}}
    (tmp_path / "labels.json").write_text(json.dumps(content))

    with pytest.raises(DatasetError) as caught:
        read_truck_dataset(tmp_path)
    assert message in str(caught.value)
    assert "two.csv" in str(caught.value)


def test_missing_or_broken_labels_of_trips(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no such file"):
        read_truck_dataset(tmp_path)
    (tmp_path / "labels.json").write_text("[]")
    with pytest.raises(DatasetError, match="these are no labels"):
        read_truck_dataset(tmp_path)
    (tmp_path / "labels.json").write_text('{"labels": [], "trips": {}}')
    with pytest.raises(DatasetError, match="no trips are here"):
        read_truck_dataset(tmp_path)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(edgehaul, ["data", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_from_making_to_splitting(tmp_path: Path) -> None:
    parcels, trips, out = (str(tmp_path / name) for name in ("parcels", "trips", "parts"))
    small = ("--width", "128", "--height", "96")
    made = json.loads(
        run("virtual", "conveyor", "--out", parcels, "--images", "12", *small, "--json")
    )
    looked = json.loads(run("stats", parcels, "--json"))
    dry = json.loads(run("split", parcels, "--out", out, "--dry-run", "--json"))

    assert made["images"] == looked["images"] == 12
    assert looked["form"] == "coco"
    assert sum(dry[part]["images"] for part in ("train", "val", "test")) == 12
    assert not dry["written"]
    assert not Path(out).exists()
    run("split", parcels, "--out", out)
    assert len(read_dataset(Path(out) / "train.json")) == dry["train"]["images"]

    assert "trips            1" in run(
        "virtual", "truck", "--out", trips, "--trips", "1", "--duration-s", "300"
    )
    assert json.loads(run("stats", trips, "--json"))["form"] == "truck"
