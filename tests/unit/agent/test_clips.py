"""Clips of events: from when to when, under which name, in what files."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.config.clips import ClipSection
from edgehaul.config.device import CountingLine, DeviceConfig, StreamConfig
from edgehaul.config.gating import MotionSection
from edgehaul.config.loader import load, load_text
from edgehaul.config.recordings import FileSource
from edgehaul.errors import ConfigError
from edgehaul.geometry import Box, Line, Point
from edgehaul.messages.payloads import CountEvent, EventData, TrackEvent
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Detection, Frame, Image
from edgehaul.vision.preprocess import Canvas
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.checks import check_device
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.media.film import Film, FilmArchive
from edgehaul_agent.media.webm import write_webm
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.camera import StreamPipeline
from edgehaul_agent.pipeline.clips import Clips
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.devices import write_config
from tests.fakes.running import wait_until
from tests.fakes.streams import FakeClock, FirstPixel, ListFrames, MemoryOutbox, ScriptedModel

COUNT = CountEvent(
    line="in", direction="forward", track_id=1, label="parcel", at=Point(1, 2), totals={}
)
START_S = 1_000_000.0
"""Within a day of 1970; clips are kept by the clock of the test, which is set to it."""


class Shown(NamedTuple):
    """A clip as a player sees it."""

    fps: float
    duration_s: float
    levels: list[int]
    """Mean brightness of each picture."""


def played(path: Path) -> Shown:
    film = cv2.VideoCapture(str(path))
    fps, levels = film.get(cv2.CAP_PROP_FPS), []
    while True:
        is_there, image = film.read()
        if not is_there:
            break
        levels.append(round(float(image.mean())))
    return Shown(fps, film.get(cv2.CAP_PROP_FRAME_COUNT) / fps, levels)


def level_at(second: float) -> int:
    """Return the brightness of a camera that grows lighter, by 8 each second."""
    return min(10 + 8 * int(second), 250)


def is_of(level: int, second: float) -> bool:
    """Return whether a picture is that of a time, or the one before it: they are 0.2 s apart.

    VP8 and its colours change the brightness by up to 3.
    """
    return level_at(second - 0.2) - 4 <= level <= level_at(second) + 4


def picture(level: int, size: tuple[int, int] = (120, 160)) -> Image:
    return np.full((*size, 3), level, np.uint8)


class Camera:
    """Gives pictures to clips as a pipeline does, with events at chosen times."""

    def __init__(self, folder: Path, section: ClipSection, *, fps: float = 25.0) -> None:
        self.clock = FakeClock()
        self.clock.passed_s = START_S - self.clock.now_s()
        self.metrics = StreamMetrics(self.clock)
        self.archive = FilmArchive(folder / "media", self.clock)
        self.clips = Clips(self.archive, "dock", section, self.metrics)
        self._folder = folder
        self._fps = fps

    def run(
        self, seconds: float, events: tuple[float, ...] = (), *, lag: int = 0, from_s: float = 0.0
    ) -> list[str]:
        """Return the names that the events have been given.

        Args:
            seconds: When to stop.
            events: When they happen.
            lag: Number of frames that wait for the model.
            from_s: When to begin.
        """
        names, waiting, left = [], [], list(events)
        first, last = round(from_s * self._fps), round(seconds * self._fps)
        for index in range(first, last + lag):
            if index < last:
                at_s = index / self._fps
                self.clips.see(picture(level_at(at_s)), START_S + at_s, is_idle=not waiting)
                waiting.append(at_s)
            if index - first >= lag:
                told_s = waiting.pop(0)
                while left and left[0] <= told_s:
                    left.pop(0)
                    names.append(self.clips.take(COUNT, START_S + told_s))
                self.clips.settle(START_S + told_s)
        return names

    def files(self) -> list[Path]:
        return sorted(p for p in (self._folder / "media").rglob("*") if p.is_file())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.clips.close()
        self.archive.__exit__(None, None, None)


@pytest.mark.parametrize("lag", [0, 1, 40])
@pytest.mark.parametrize("fps", [25.0, 12.5, 30.0, 5.0])
def test_a_clip_shows_what_was_before_and_after(tmp_path: Path, fps: float, lag: int) -> None:
    with Camera(tmp_path, ClipSection(pre_s=4, post_s=3), fps=fps) as camera:
        (name,) = camera.run(30, (12.0,), lag=lag)
        (same,) = camera.run(31, (30.5,), from_s=30)[:1]
    assert name == "media/dock/1970-01-12/134652.000-count-0000.webm"
    assert same != name
    shown = played(tmp_path / name)
    assert (shown.fps, shown.duration_s, len(shown.levels)) == (5.0, 7.0, 35)
    for number, level in enumerate(shown.levels):
        assert is_of(level, 8 + (number + 0.5) / 5), f"picture {number}"
    assert camera.metrics.take().clips == 2


def test_events_that_lie_close_share_a_clip_and_a_long_one_gives_way_to_another(
    tmp_path: Path,
) -> None:
    section = ClipSection(pre_s=1, post_s=2, max_s=8)
    with Camera(tmp_path, section) as camera:
        names = camera.run(40, (5.0, 6.5, 8.0, 9.9, 11.0, 12.0, 20.0))
    # The first may last from 4 s until 12 s, so that 11 s with what follows is too much for it.
    assert [names.index(name) for name in names] == [0, 0, 0, 0, 4, 4, 6]
    lengths = [played(tmp_path / name).duration_s for name in dict.fromkeys(names)]
    assert lengths == [pytest.approx(7.9, abs=0.2), 4.0, 3.0]


def test_without_an_event_nothing_is_kept_and_only_wanted_ones_count(tmp_path: Path) -> None:
    with Camera(tmp_path, ClipSection(events=("track",))) as camera:
        assert camera.run(20, (8.0,)) == [""]
        track = TrackEvent(phase="update", track_id=1)
        assert camera.clips.take(track, START_S + 20) == ""
        track = msgspec.structs.replace(track, phase="new")
        name = camera.clips.take(track, START_S + 20)
        assert name.endswith("-track-0000.webm")
    assert [str(p.relative_to(tmp_path)) for p in camera.files()] == [name]


def test_the_beginning_and_the_end_of_a_stream_cut_a_clip_short(tmp_path: Path) -> None:
    with Camera(tmp_path, ClipSection()) as camera:
        first, last = camera.run(20, (1.0, 18.0))
    assert played(tmp_path / first).duration_s == 6.0
    assert played(tmp_path / last).duration_s == pytest.approx(7.0, abs=0.21)


def test_a_clock_that_is_set_back_begins_anew(tmp_path: Path) -> None:
    with Camera(tmp_path, ClipSection()) as camera:
        (before,) = camera.run(20, (18.0,))
        (after,) = camera.run(30, (15.0,), from_s=10)
        assert camera.clips.take(COUNT, START_S + 3_000) == "", "no picture is from that time"
    assert played(tmp_path / before).duration_s == pytest.approx(7.0, abs=0.21)
    shown = played(tmp_path / after)
    assert shown.duration_s == 10.0
    assert is_of(shown.levels[0], 10.1)


def test_frames_that_are_missing_make_a_clip_neither_shorter_nor_longer(tmp_path: Path) -> None:
    with Camera(tmp_path, ClipSection()) as camera:
        (name,) = camera.run(10, (9.0,))
        camera.run(20, from_s=12)
    shown = played(tmp_path / name)
    assert shown.duration_s == 10.0
    for number, level in enumerate(shown.levels):
        second = 4 + (number + 0.5) / 5
        assert is_of(level, 9.9 if 10 < second < 12 else second)


def test_a_camera_that_goes_away_does_not_keep_its_clip(tmp_path: Path) -> None:
    with Camera(tmp_path, ClipSection()) as camera:
        (name,) = camera.run(10, (9.0,))
        camera.clock.sleep(9)
        camera.clips.end_overdue()
        assert camera.metrics.take().clips == 0, "it may still come"
        camera.clock.sleep(2)
        camera.clips.end_overdue()
        wait_until((tmp_path / name).exists)
        assert played(tmp_path / name).duration_s == pytest.approx(6.0, abs=0.21)
        (later,) = camera.run(3_600, (3_595.0,), from_s=3_580)
    assert played(tmp_path / later).duration_s == pytest.approx(10.0, abs=0.21)


def test_clips_of_a_stream_that_was_given_up_are_ended_by_the_next_start(tmp_path: Path) -> None:
    section = ClipSection()
    with Camera(tmp_path, section) as camera:
        (name,) = camera.run(10, (9.0,))
        Clips(camera.archive, "dock", section, camera.metrics)
        wait_until((tmp_path / name).exists)


def test_no_more_memory_than_allowed_and_the_event_is_shown_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    section = ClipSection(buffer_mb=1, max_edge_px=320, pre_s=2, post_s=5)
    with caplog.at_level(logging.WARNING), Camera(tmp_path, section) as camera:
        names = []
        for index in range(300):
            noise = random.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            camera.clips.see(noise, START_S + index / 10, is_idle=True)
            assert camera.clips._ring.kept_bytes <= 2**20
            if index in {100, 200}:
                names.append(camera.clips.take(COUNT, START_S + index / 10))
    assert caplog.text.count("buffer_mb is too small") == 1
    assert all(2.0 <= played(tmp_path / name).duration_s < 7.0 for name in names)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((720, 1280), (360, 640)),
        ((1080, 1920), (360, 640)),
        ((480, 640), (480, 640)),
        ((33, 47), (32, 48)),
        ((1000, 301), (640, 192)),
    ],
)
def test_pictures_are_made_small_and_even(
    tmp_path: Path, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    with Camera(tmp_path, ClipSection()) as camera:
        image = picture(40, size)
        image[:, : size[1] // 2] = 200
        camera.clips.see(image, START_S, is_idle=True)
        name = camera.clips.take(COUNT, START_S)
    _, image = cv2.VideoCapture(str(tmp_path / name)).read()
    assert image.shape[:2] == shown
    assert abs(float(image[:, : shown[1] // 3].mean()) - 200) < 3
    assert abs(float(image[:, 2 * shown[1] // 3 :].mean()) - 40) < 3


def test_a_camera_may_change_its_resolution(tmp_path: Path) -> None:
    jpegs = [
        cv2.imencode(".jpg", picture(90, size))[1].tobytes() for size in ((120, 160), (72, 96))
    ]
    assert write_webm(tmp_path / "a.webm", jpegs, 5.0) == (tmp_path / "a.webm").stat().st_size
    assert played(tmp_path / "a.webm").levels == pytest.approx([90, 90], abs=4)


class Lightening(ListFrames):
    """A camera that grows lighter."""

    def frames(self, wants: Callable[[], bool] = lambda: True) -> Iterator[Frame]:
        for frame in super().frames(wants):
            image = picture(level_at(frame.index / 25), (480, 640))
            image[0, 0] = frame.image[0, 0]
            yield msgspec.structs.replace(frame, image=image)


class StillCanvas(FirstPixel):
    """Shows the motion gate a picture in which nothing moves."""

    @property
    def picture(self) -> Image:
        return picture(0, (8, 8))


class StillModel(ScriptedModel):
    """Looks at such canvases."""

    def canvas(self) -> Canvas:
        return StillCanvas(())


def crossing(index: int) -> list[Detection]:
    x = 100 + 1.5 * index
    return [Detection(Box(x - 150, 100, x + 150, 180), 0, "parcel", 0.9)]


def test_frames_that_the_motion_gate_refused_are_in_the_clip(tmp_path: Path) -> None:
    outbox, clock = MemoryOutbox(), FakeClock()
    section = ClipSection(events=("count",), pre_s=3, post_s=2)
    config = StreamConfig(
        name="dock",
        model="parcels",
        source=FileSource(path="a.mp4"),
        lines=(CountingLine(name="in", points=Line(Point(320, 480), Point(320, 0))),),
        motion=MotionSection(look_every_s=0.4, hold_s=0),
        clips=section,
    )
    made = StreamPipeline(
        config,
        source=Lightening(300),
        model=StillModel(crossing),
        outlet=StreamOutlet(outbox, DeviceTopics("depot", "box-1"), "dock"),
        workers=WorkerPool(1, clock),
        clock=clock,
    )
    clock.passed_s = -clock.now_s()
    with FilmArchive(tmp_path / "media", clock) as archive, made.workers, made:
        made.clips = Clips(archive, "dock", section, made.metrics)
        made.run(threading.Event())
    health = made.metrics.take()
    assert health.processed + health.gated == 300
    assert health.processed < 40
    assert health.clips == 1
    (message,) = [m for m in outbox.messages if isinstance(m.payload, EventData) and m.payload.clip]
    shown = played(tmp_path / message.payload.clip)
    assert shown.duration_s == 5.0
    start_s = message.captured_at_s - 1_000 - 3
    for number, level in enumerate(shown.levels):
        assert is_of(level, start_s + (number + 0.5) / 5)


def film(number: int, lost: list[int], *, pictures: int = 5) -> Film:
    jpeg = cv2.imencode(".jpg", picture(number))[1].tobytes()
    name = f"2023-11-14/{number:06d}.webm"
    return Film(
        stream="dock",
        path=name,
        jpegs=(jpeg,) * pictures,
        fps=5.0,
        nbytes=len(jpeg),
        lost=lambda: lost.append(number),
        written=lambda: None,
    )


def test_a_folder_that_refuses_is_counted_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media").write_text("in the way")
    lost: list[int] = []
    with caplog.at_level(logging.WARNING), FilmArchive(tmp_path / "media", FakeClock()) as archive:
        archive.keep("dock", ClipSection())
        assert all(archive.put(film(number, lost)) for number in range(3))
    assert lost == [0, 1, 2]
    assert caplog.text.count("clips cannot be written") == 1


FULL = """
import resource, sys
from pathlib import Path
import numpy, cv2
from edgehaul.config.clips import ClipSection
from edgehaul_agent.media.film import Film, FilmArchive
noise = numpy.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=numpy.uint8)
jpeg = cv2.imencode(".jpg", noise)[1].tobytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
with FilmArchive(Path(sys.argv[1])) as archive:
    archive.keep("dock", ClipSection(max_days=3650))
    for number, count in enumerate((30, 30, 1)):
        name = f"2026-01-01/{number}.webm"
        told = lambda what, number=number: lambda: print(what, number)
        pictures = (jpeg,) * count if count > 1 else (cv2.imencode(".jpg", noise * 0)[1].tobytes(),)
        archive.put(Film("dock", name, pictures, 5.0, 1, told("lost"), told("written")))
"""


def test_a_full_disk_loses_the_clip_alone_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """In a process of its own, since the limit that stands for the disk is the process's."""
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == ["lost 0", "lost 1", "written 2"]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["2.webm"]
    assert result.stderr.count("clips cannot be written: File too large") == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_what_a_crash_left_goes_and_pictures_beside_clips_stay(tmp_path: Path) -> None:
    day = tmp_path / "dock/2023-11-14"
    day.mkdir(parents=True)
    names = ("a.webm.partial.mkv", "a.jpg.partial", "a.jpg", "b.webm", "notes.partial")
    for name in names:
        (day / name).write_bytes(bytes(1000))
    with FilmArchive(tmp_path, FakeClock()) as archive:
        archive.keep("dock", ClipSection(max_mb=1e-6))
        wait_until(lambda: not (day / "b.webm").exists())
    assert sorted(p.name for p in day.iterdir()) == ["a.jpg", "a.jpg.partial", "notes.partial"]


def test_who_has_no_time_to_write_holds_nobody_up(tmp_path: Path) -> None:
    lost: list[int] = []
    asked, release = threading.Event(), threading.Event()

    class HeldClock(FakeClock):
        def now_s(self) -> float:
            asked.set()
            assert release.wait(20)
            return super().now_s()

    with FilmArchive(tmp_path, HeldClock()) as archive:
        archive.keep("dock", ClipSection())
        assert asked.wait(20)
        large = film(1, lost, pictures=2)._replace(nbytes=40 * 2**20)
        assert [archive.put(large) for _ in range(3)] == [True, False, False]
        release.set()
    assert [p.name for p in tmp_path.rglob("*.webm")] == ["000001.webm"]


def test_the_section_has_defaults_and_bounds() -> None:
    text = "{name: a, model: m, source: {type: usb}, clips: {}}"
    assert load_text(text, StreamConfig).clips == ClipSection()
    assert load_text(text.replace(", clips: {}", ""), StreamConfig).clips is None
    for wrong in ("events: []", "on: [count]", "fps: 0", "post_s: 0", "max_edge_px: 10"):
        with pytest.raises(ConfigError, match=r":1:"):
            load_text(text.replace("{}", "{" + wrong + "}"), StreamConfig)
    with pytest.raises(ConfigError, match=r"at least, 40: raise it"):
        load_text(text.replace("{}", "{pre_s: 15, max_s: 39}"), StreamConfig)


def test_a_check_tries_the_encoder(tmp_path: Path) -> None:
    stream = {"name": "dock", "model": "", "source": {"type": "images", "path": "."}, "clips": {}}
    path = write_config(tmp_path, port=1, source={}, streams=[stream])
    results = check_device(Assembly(load(path, DeviceConfig), tmp_path), FakeClock())
    (result,) = [r for r in results if r.kind == "clips"]
    assert (result.name, result.exit_code) == ("dock", 0)
    assert result.detail.startswith("VP8 in WebM, 5 pictures a second")


def test_messages_of_older_agents_name_no_clip() -> None:
    old = b'{"kind":"event","event":{"type":"track","phase":"new","track_id":1}}'
    assert msgspec.json.decode(old, type=EventData).clip == ""
