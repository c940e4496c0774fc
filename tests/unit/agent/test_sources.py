from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.config.device import GpsConfig, StreamConfig
from edgehaul.config.recordings import (
    FileSource,
    ImagesSource,
    TraceSource,
    VirtualConveyorSource,
    VirtualTruckSource,
)
from edgehaul.errors import DataError, SourceError
from edgehaul.values import Fix, Frame
from edgehaul_agent.sources.base import FrameSource
from edgehaul_agent.sources.factory import fix_source, frame_source
from tests.fakes.streams import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def gray(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames at 5 fps, frame i brighter by 15 * i."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 5.0, (64, 48))
    noise = np.random.default_rng(1).integers(0, 100, (48, 64, 3)).astype(np.uint8)
    for index in range(10):
        writer.write(gray(15 * index) + noise)
    writer.release()
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.png"), gray(50 * index))
    (folder / "1.png").write_bytes(b"broken")
    (folder / "3.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


def opened(source: Any, folder: Path, clock: FakeClock, *, stride: int = 1) -> FrameSource:  # noqa: ANN401 - any of the configured kinds
    config = StreamConfig(name="dock", model="m", source=source, stride=stride)
    return frame_source(config, folder=folder, clock=clock)


def read(source: FrameSource) -> list[Frame]:
    with source:
        # Copied, for a picture is its frame's own only until the next one is asked for.
        return [msgspec.structs.replace(f, image=f.image.copy()) for f in source.frames()]


def fixes_of(config: GpsConfig, folder: Path, clock: FakeClock) -> list[Fix]:
    with fix_source(config, folder=folder, clock=clock) as source:
        return [fix for fix in source.fixes() if fix is not None]


def test_a_video_gives_every_frame_with_its_time(video: Path, clock: FakeClock) -> None:
    source = opened(FileSource(path=video.name), video.parent, clock)
    frames = read(source)
    assert [f.index for f in frames] == list(range(10))
    assert frames[3].image.mean() == pytest.approx(95, abs=6)
    assert frames[-1].captured_at_s - frames[0].captured_at_s == pytest.approx(9 / 5)
    assert frames[-1].captured_at_s <= clock.now_s()
    assert (source.bad, source.skipped, clock.passed_s) == (0, 0, 0)


def test_a_picture_keeps_until_the_next_frame_is_asked_for(video: Path, clock: FakeClock) -> None:
    with opened(FileSource(path=video.name), video.parent, clock) as source:
        frames = source.frames()
        first = next(frames).image
        brightness = first.mean()
        second = next(frames).image
        assert brightness < second.mean()
        assert first is second  # the same memory: new memory would be cleared for each frame


def test_a_video_can_keep_its_pace(video: Path, clock: FakeClock) -> None:
    frames = read(opened(FileSource(path=video.name, realtime=True), video.parent, clock))
    assert clock.passed_s == pytest.approx(9 / 5)
    assert frames[-1].captured_at_s == pytest.approx(clock.now_s())


def test_a_stride_passes_frames_over(video: Path, clock: FakeClock) -> None:
    source = opened(FileSource(path=video.name), video.parent, clock, stride=4)
    assert [f.index for f in read(source)] == [0, 4, 8]
    assert source.skipped == 7


@pytest.mark.parametrize("kind", ["video", "images", "virtual"])
def test_frames_that_are_not_wanted_are_skipped_and_the_pace_is_kept(
    kind: str, video: Path, images: Path, clock: FakeClock
) -> None:
    conveyor = VirtualConveyorSource(frames=10, width=160, height=120, fps=5, realtime=True)
    sources = {
        "video": FileSource(path=video.name, realtime=True),
        "images": ImagesSource(path=images.name),
        "virtual": conveyor,
    }
    asked_at_s: list[float] = []

    def wants() -> bool:
        asked_at_s.append(clock.passed_s)
        return len(asked_at_s) == 2

    with opened(sources[kind], video.parent, clock, stride=2) as source:
        frames = list(source.frames(wants))
    assert [frame.index for frame in frames] == [2]
    if kind == "images":
        assert (source.skipped, len(asked_at_s)) == (3, 2)
    else:
        assert source.skipped == 9
        assert asked_at_s == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6])


def test_a_folder_of_which_nothing_is_wanted_is_no_fault(images: Path, clock: FakeClock) -> None:
    with opened(ImagesSource(path=images.name), images.parent, clock) as source:
        assert list(source.frames(lambda: False)) == []
        assert (source.skipped, source.bad) == (4, 0)


def test_a_loop_goes_on_counting(video: Path, clock: FakeClock) -> None:
    with opened(FileSource(path=video.name, loop=True), video.parent, clock) as source:
        frames = [frame for frame, _ in zip(source.frames(), range(25), strict=False)]
    assert [f.index for f in frames] == list(range(25))
    assert frames[20].image.mean() == pytest.approx(frames[0].image.mean(), abs=2)


def test_a_truncated_video_ends_early_and_says_so(
    video: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 6 // 10])
    source = opened(FileSource(path=video.name), video.parent, clock)
    frames = read(source)
    assert 3 <= len(frames) < 10
    assert len(frames) + source.bad == 10
    assert "of the 10 frames" in caplog.text


@pytest.mark.parametrize("content", [b"", b"this is no video", b"RIFF" + bytes(2000)])
def test_what_is_no_video_is_refused(tmp_path: Path, clock: FakeClock, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(SourceError, match=r"clip\.mp4: .*; check"):
        read(opened(FileSource(path="clip.mp4"), tmp_path, clock))


def test_a_missing_video_is_named(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(SourceError, match=r"gone\.mp4: no such video file"):
        read(opened(FileSource(path="gone.mp4"), tmp_path, clock))


def test_broken_images_are_counted_not_fatal(images: Path, clock: FakeClock) -> None:
    source = opened(ImagesSource(path=images.name, interval_s=2), images.parent, clock)
    frames = read(source)
    assert [f.index for f in frames] == [0, 2]
    assert frames[1].captured_at_s - frames[0].captured_at_s == 4
    assert source.bad == 2


def test_folders_without_a_usable_image_are_refused(tmp_path: Path, clock: FakeClock) -> None:
    source = opened(ImagesSource(path="."), tmp_path, clock)
    with pytest.raises(SourceError, match="no image in this folder"):
        read(source)
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="not one image"):
        read(source)
    with pytest.raises(SourceError, match="no such folder"):
        read(opened(ImagesSource(path="gone"), tmp_path, clock))


def test_what_the_system_refuses_is_the_fault_of_one_source(
    tmp_path: Path, clock: FakeClock
) -> None:
    name = "n" * 300  # longer than any file system takes
    for source in (ImagesSource(path=name), FileSource(path=name)):
        with pytest.raises(SourceError, match=r"cannot be read: .*; correct the path"):
            read(opened(source, tmp_path, clock))
    with pytest.raises(SourceError, match="cannot be read: "):
        fixes_of(GpsConfig(name="truck", source=TraceSource(path=name)), tmp_path, clock)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_sources_that_may_not_be_read_are_named(
    images: Path, video: Path, clock: FakeClock
) -> None:
    for path, source in ((images, ImagesSource), (video, FileSource)):
        path.chmod(0)
        with pytest.raises(SourceError, match=r"cannot be read: permission denied"):
            read(opened(source(path=path.name), path.parent, clock))
        path.chmod(0o700)


def test_the_virtual_camera_renders_the_same_scene_again(clock: FakeClock) -> None:
    config = VirtualConveyorSource(seed=3, frames=4, width=160, height=120, fps=10)
    first = read(opened(config, Path(), clock))
    again = read(opened(config, Path(), clock, stride=3))
    assert [f.index for f in first] == [0, 1, 2, 3]
    assert [f.index for f in again] == [0, 3]
    np.testing.assert_array_equal(first[3].image, again[1].image)


def test_the_virtual_receiver_gives_a_trip(clock: FakeClock) -> None:
    config = GpsConfig(name="truck", source=VirtualTruckSource(duration_s=60, realtime=True))
    fixes = fixes_of(config, Path(), clock)
    times = [fix.captured_at_s for fix in fixes]
    assert times == sorted(times)
    assert clock.passed_s == pytest.approx(times[-1] - times[0])


def test_a_trace_is_read(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "trip.csv").write_text(
        "time,lat,lon\n2026-01-01T00:00:00Z,1,2\n2026-01-01T00:00:05Z,1,2.001\n"
    )
    config = GpsConfig(name="truck", source=TraceSource(path="trip.csv", realtime=True))
    fixes = fixes_of(config, tmp_path, clock)
    assert [f.longitude_deg for f in fixes] == [2, 2.001]
    assert clock.passed_s == pytest.approx(5)


def test_a_row_that_is_no_fix_is_counted_and_passed_over(tmp_path: Path, clock: FakeClock) -> None:
    (tmp_path / "trip.csv").write_text(
        "time,lat,lon\n2026-01-01T00:00:00Z,1,2\n2026-01-01T00:00:05Z,nan,2\nnoon,1,2\n"
        "2026-01-01T00:00:10Z,1,2.002\n"
    )
    config = GpsConfig(name="truck", source=TraceSource(path="trip.csv"))
    with fix_source(config, folder=tmp_path, clock=clock) as source:
        assert [f.longitude_deg for f in source.fixes()] == [2, 2.002]
        assert source.bad() == 2


def test_a_missing_or_broken_trace_is_named(tmp_path: Path, clock: FakeClock) -> None:
    config = GpsConfig(name="truck", source=TraceSource(path="trip.csv"))
    with pytest.raises(SourceError, match=r"trip\.csv: no such trace"):
        fixes_of(config, tmp_path, clock)
    (tmp_path / "trip.csv").write_text("time,lat,lon\n2026-01-01T00:00:00Z,abc,2\n")
    with pytest.raises(DataError, match=r"trip\.csv:2"):
        fixes_of(config, tmp_path, clock)


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "good", "bad"), [("tree.avi", 68, 376), ("box.mp4", 455, 1)])
def test_real_videos_with_faults(
    shared_data: Path, clock: FakeClock, name: str, good: int, bad: int
) -> None:
    source = opened(FileSource(path=name), shared_data / "video", clock)
    with source:
        count = sum(1 for _ in source.frames())
    assert (count, source.bad) == (good, bad)


def test_damaged_frames_in_the_middle_are_bad_and_the_rest_is_read(
    video: Path, clock: FakeClock
) -> None:
    content = video.read_bytes()
    starts = [i for i in range(len(content) - 3) if content[i : i + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 10
    damaged = bytearray(content)
    for start in starts[4:6]:
        damaged[start : start + 400] = bytes(400)
    video.write_bytes(damaged)
    with opened(FileSource(path=video.name), video.parent, clock) as source:
        frames = list(source.frames())
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert source.bad == 2
    assert frames[4].captured_at_s - frames[3].captured_at_s == pytest.approx(3 / 5)
