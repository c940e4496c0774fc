"""Pictures of events are kept on the box, whole, not too many, and hold nobody up."""

from __future__ import annotations

import logging
import threading
import tracemalloc
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.config.device import CountingLine, DeviceConfig, StreamConfig
from edgehaul.config.loader import load, load_text
from edgehaul.config.recordings import FileSource
from edgehaul.config.snapshots import SnapshotSection
from edgehaul.config.zones import ZoneConfig
from edgehaul.errors import ConfigError
from edgehaul.geometry import Box, Line, Point
from edgehaul.messages.payloads import CountEvent, EventData, TrackEvent
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.zone_events import OccupancyEvent, ZoneEvent
from edgehaul.values import Detection
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.media.album import Album, Shot
from edgehaul_agent.media.shelf import Shelf
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.snapshots import Snapshots
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.devices import make_device
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, ListFrames, MemoryOutbox, ScriptedModel

BELT = ZoneConfig(name="belt", points=tuple(map(Point, (200, 500, 350), (0, 0, 480))), settle_s=0.0)
LARGE = np.zeros((1080, 1920, 3), np.uint8)
SMALL = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


class HeldClock(FakeClock):
    """Holds up whoever asks for the time, as a disk may."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()
        self.release = threading.Event()

    def now_s(self) -> float:
        self.asked.set()
        assert self.release.wait(20)
        return super().now_s()


def passing(index: int) -> list[Detection]:
    x = 50 + 20 * index
    return [Detection(Box(x - 40, 100, x + 40, 180), 0, "parcel", 0.9)] if x < 600 else []


def never() -> None:
    raise AssertionError("nothing is to be lost")


def events_with(folder: Path, **section: object) -> list[EventData]:
    """Return what a camera tells of a parcel that crosses a line and a zone."""
    outbox, clock = MemoryOutbox(), FakeClock()
    made = StreamPipeline(
        StreamConfig(
            name="dock",
            model="parcels",
            source=FileSource(path="a.mp4"),
            lines=(CountingLine(name="in", points=Line(Point(320, 480), Point(320, 0))),),
            zones=(BELT,),
        ),
        source=ListFrames(40),
        model=ScriptedModel(passing),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "box-1"), "dock"),
        workers=WorkerPool(1, clock),
        clock=clock,
    )
    # The frames of the script are of 1970.
    with Album(folder / "media", clock) as album, made.workers, made:
        clock.passed_s = -clock.now_s()
        made.snapshots = Snapshots(album, "dock", SnapshotSection(**section), never)
        made.run(threading.Event())
    return [p for p in outbox.payloads("/events/dock") if isinstance(p, EventData)]


def test_an_event_names_its_picture(tmp_path: Path) -> None:
    events = events_with(tmp_path, padding=0.5)
    named = [e for e in events if e.snapshot]
    assert {type(e.event) for e in named} == {CountEvent, ZoneEvent}
    assert all(not e.snapshot for e in events if isinstance(e.event, TrackEvent | OccupancyEvent))
    for event in named:
        picture = cv2.imread(str(tmp_path / event.snapshot))
        assert picture.shape == (160, 160, 3), "80 pixels, and a half of that on each side"
        assert event.snapshot.startswith("media/dock/1970-01-01/0016")
    files = [p for p in (tmp_path / "media").rglob("*") if p.is_file()]
    assert len(files) == len(named) == len({e.snapshot for e in named})


def test_whole_pictures_and_the_beginnings_of_tracks(tmp_path: Path) -> None:
    events = events_with(tmp_path, events=["track", "occupancy"], padding=None)
    named = [e.event for e in events if e.snapshot]
    assert [e.phase for e in named if isinstance(e, TrackEvent)] == ["new"]
    assert any(isinstance(e, OccupancyEvent) for e in named)
    sizes = {cv2.imread(str(p)).shape for p in (tmp_path / "media").rglob("*.jpg")}
    assert sizes == {(480, 640, 3)}


def test_who_has_no_time_to_write_holds_nobody_up(tmp_path: Path) -> None:
    clock, metrics = HeldClock(), StreamMetrics(FakeClock())
    clock.passed_s = 1_000.0 - FakeClock().now_s()
    with Album(tmp_path, clock) as album:
        snapshots = Snapshots(
            album, "dock", SnapshotSection(events=["occupancy"]), metrics.lose_snapshot
        )
        assert clock.asked.wait(20)
        event = OccupancyEvent(zone="hall", count=1)
        names = [snapshots.take(event, LARGE, (), 1_000.0) for _ in range(20)]
        clock.release.set()
    kept = [name for name in names if name]
    assert len(kept) == 32 * 2**20 // LARGE.nbytes
    assert metrics.take().snapshots_lost == 20 - len(kept)
    written = {f"media/{p.relative_to(tmp_path)}" for p in tmp_path.rglob("*.jpg")}
    assert written == set(kept)


def test_a_disk_that_refuses_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media").write_text("in the way")
    lost: list[int] = []
    with (
        caplog.at_level(logging.WARNING),
        Album(tmp_path / "media", FakeClock()) as album,
    ):
        album.keep("dock", SnapshotSection())
        for number in range(3):
            assert album.put(
                Shot("dock", f"2026-01-01/{number}.jpg", SMALL, lambda: lost.append(1))
            )
    assert len(lost) == 3
    assert caplog.text.count("pictures cannot be written") == 1


def fill(folder: Path, *names: str, size: int = 1000) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))


def left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_oldest_go_where_there_are_too_many(tmp_path: Path) -> None:
    fill(tmp_path, "2023-11-13/b.jpg", "2023-11-13/a.jpg", "2023-11-14/a.jpg")
    shelf = Shelf(tmp_path, SnapshotSection(max_mb=2000 / 2**20), ".jpg")
    assert shelf.kept_bytes == 3000
    shelf.trim(FakeClock().now_s())
    assert left(tmp_path) == ["2023-11-13/b.jpg", "2023-11-14/a.jpg"]
    fill(tmp_path, "2023-11-14/b.jpg", size=1001)
    shelf.add(tmp_path / "2023-11-14/b.jpg", 1001)
    shelf.trim(FakeClock().now_s())
    assert left(tmp_path) == ["2023-11-14/b.jpg"]
    assert not (tmp_path / "2023-11-13").exists()


def test_the_old_ones_go_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    # By the clock of the test it is 2023-11-14.
    fill(tmp_path, "2023-11-10/a.jpg", "2023-11-11/a.jpg", "2023-11-12/a.jpg")
    fill(tmp_path, "2023-11-10/notes.txt", "mine/a.jpg", "2023-11-12/b.jpg.partial")
    Shelf(tmp_path, SnapshotSection(max_days=2), ".jpg").trim(FakeClock().now_s())
    assert left(tmp_path) == ["2023-11-10/notes.txt", "2023-11-12/a.jpg", "mine/a.jpg"]


def test_thousands_of_pictures_take_no_memory(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, SnapshotSection(), ".jpg")

    tracemalloc.start()
    try:
        for number in range(20_000):
            shelf.add(tmp_path / f"2023-11-14/{number:06d}.123-count-0001.jpg", 1000)
        # Only what the shelf itself has kept: others work in this process as well.
        own = tracemalloc.Filter(inclusive=True, filename_pattern="*/media/shelf.py")
        kept = tracemalloc.take_snapshot().filter_traces([own]).statistics("filename")
    finally:
        tracemalloc.stop()
    assert shelf.kept_bytes == 20_000_000
    assert sum(one.size for one in kept) < 20_000


def test_the_newest_are_left_of_more_than_are_known_by_name(tmp_path: Path) -> None:
    section = SnapshotSection(max_mb=1500 / 2**20)
    for day in ("2023-11-13", "2023-11-14"):
        fill(tmp_path, *(f"{day}/{number:05d}.jpg" for number in range(2200)), size=1)
    shelf = Shelf(tmp_path, section, ".jpg")
    shelf.trim(FakeClock().now_s())
    assert left(tmp_path) == [f"2023-11-14/{number:05d}.jpg" for number in range(700, 2200)]
    assert shelf.kept_bytes == 1500
    assert not (tmp_path / "2023-11-13").exists()


def test_what_somebody_else_removes_costs_no_other_picture(tmp_path: Path) -> None:
    fill(tmp_path, *(f"2023-11-14/{number}.jpg" for number in range(9)), size=100)
    shelf = Shelf(tmp_path, SnapshotSection(max_mb=850 / 2**20), ".jpg")
    for number in range(5):
        (tmp_path / f"2023-11-14/{number}.jpg").unlink()
    shelf.trim(FakeClock().now_s())
    assert left(tmp_path) == [f"2023-11-14/{number}.jpg" for number in range(5, 9)]
    assert shelf.kept_bytes == 400


def test_what_cannot_be_removed_is_told_once_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, "2023-11-14/b.jpg", "2023-11-14/c.jpg")
    (tmp_path / "2023-11-14/a.jpg").mkdir()
    shelf = Shelf(tmp_path, SnapshotSection(max_mb=1000 / 2**20), ".jpg")
    for _ in range(3):
        shelf.trim(FakeClock().now_s())
    assert left(tmp_path) == ["2023-11-14/c.jpg"]
    assert caplog.text.count("cannot be removed") == 1


def test_less_is_kept_at_once_where_the_configuration_says_so(tmp_path: Path) -> None:
    fill(tmp_path, "dock/2023-11-13/a.jpg", "dock/2023-11-14/a.jpg", "gate/2023-11-13/a.jpg")
    with Album(tmp_path, FakeClock()) as album:
        album.keep("dock", SnapshotSection())
        album.keep("dock", SnapshotSection(max_mb=1000 / 2**20))
        wait_until(lambda: not (tmp_path / "dock/2023-11-13").exists())
    assert left(tmp_path) == ["dock/2023-11-14/a.jpg", "gate/2023-11-13/a.jpg"]


def test_a_stream_of_a_device_keeps_pictures_below_its_root(tmp_path: Path) -> None:
    film = {"type": "virtual_conveyor", "frames": 20}
    stream = {
        "name": "dock",
        "model": "parcels",
        "source": film,
        "snapshots": {"events": ["track"]},
    }
    path = make_device(tmp_path, port=1, source=film, streams=[stream])
    assembly, outbox, clock = (
        Assembly(load(path, DeviceConfig), tmp_path),
        MemoryOutbox(),
        FakeClock(),
    )
    assembly.album = Album(assembly.root / "media", clock)
    with assembly.album, assembly.workers(clock) as workers:
        made = assembly.pipeline(assembly.config.streams[0], outbox, workers, clock)
        with made:
            made.run(threading.Event())
    names = [p.snapshot for p in outbox.payloads("/events/dock") if isinstance(p, EventData)]
    assert [bool(name) for name in names] == [True, False]
    assert (assembly.root / names[0]).is_file()


def test_the_section_has_defaults_and_bounds() -> None:
    text = "{name: a, model: m, source: {type: usb}, snapshots: {}}"
    assert load_text(text, StreamConfig).snapshots == SnapshotSection()
    for wrong in ("events: []", "events: [detections]", "max_mb: 0", "quality: 101", "max_days: 0"):
        with pytest.raises(ConfigError):
            load_text(text.replace("{}", "{" + wrong + "}"), StreamConfig)
    old = msgspec.json.decode(
        b'{"kind":"event","event":{"type":"track","phase":"new","track_id":1}}', type=EventData
    )
    assert old.snapshot == ""
