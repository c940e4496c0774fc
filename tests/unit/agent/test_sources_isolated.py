"""Decoding in a process of its own: the same pictures, and nothing of what happens there."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.cameras import MjpegSource
from edgehaul.config.device import StreamConfig
from edgehaul.config.recordings import FileSource
from edgehaul.errors import SourceError
from edgehaul.values import Frame
from edgehaul_agent.sources.decoder_child import MEMORY_BYTES
from edgehaul_agent.sources.factory import frame_source
from edgehaul_agent.sources.isolated import IsolatedCapture, IsolatedJpegs
from edgehaul_agent.sources.live import LiveSource
from edgehaul_agent.sources.shared_memory import Slots
from tests.fakes.http_camera import http_camera, jpeg
from tests.fakes.viewers import Viewer


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Thirty frames that differ."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (160, 120))
    for index in range(30):
        noise = np.random.default_rng(index).integers(0, 100, (120, 160, 3))
        writer.write((noise + 5 * index).astype(np.uint8))
    writer.release()
    return path


def read(video: Path, *, isolate: bool) -> list[Frame]:
    config = FileSource(path=str(video), isolate=isolate)
    stream = StreamConfig(name="gate", model="m", source=config)
    with frame_source(stream, folder=Path(), clock=SystemClock()) as source:
        if isolate:
            return list(source.frames())
        return [msgspec.structs.replace(f, image=f.image.copy()) for f in source.frames()]


def children() -> list[int]:
    own = os.getpid()
    found = []
    for folder in Path("/proc").iterdir():
        try:
            status = (folder / "stat").read_text()
            parent = int(status.rpartition(")")[2].split()[1])
            if parent == own and "decoder_child" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except (OSError, ValueError):
            continue
    return found


def test_the_pictures_are_the_same(video: Path) -> None:
    own, isolated = read(video, isolate=False), read(video, isolate=True)
    assert len(own) == len(isolated) == 30
    for a, b in zip(own, isolated, strict=True):
        # All are kept, which is more than there are slots: they must not change afterwards.
        np.testing.assert_array_equal(a.image, b.image)
    assert isolated[0].image.flags.writeable
    assert children() == []


def test_pictures_are_lent_without_a_copy_and_slots_come_back() -> None:
    slots = Slots(3, 12)
    slots.memory.map[0:36] = bytes(range(36))
    first = slots.take()
    a = slots.lend(first, 2, 2)
    part = a[1]
    b = slots.lend(slots.take(), 2, 2)
    last = slots.take()
    copied = slots.lend(last, 2, 2)
    assert slots.take() == last, "there always is a free one"
    slots.memory.map[last * 12] = 99
    assert copied.flat[0] != 99
    slots.memory.map[first * 12] = 77
    assert a.flat[0] == 77
    del a
    gc.collect()
    assert len(slots._free) == 1, "a part of it is still in use"
    del part, b
    gc.collect()
    assert len(slots._free) == 3
    slots.memory.close()


@pytest.fixture
def capture(video: Path) -> Iterator[IsolatedCapture]:
    made = IsolatedCapture(str(video), cv2.CAP_FFMPEG, where="clip", open_s=10, grab_s=1)
    yield made
    made.release()


def test_properties_are_told(capture: IsolatedCapture) -> None:
    assert capture.isOpened()
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert capture.grab()
    assert capture.grab()
    assert capture.get(cv2.CAP_PROP_POS_MSEC) == pytest.approx(100)


@pytest.mark.parametrize("killer", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_is_a_fault_of_the_source(capture: IsolatedCapture, killer: signal.Signals) -> None:
    assert capture.grab()
    (child,) = children()
    os.kill(child, killer)
    with pytest.raises(SourceError, match=f"clip: the decoder crashed \\({killer.name}\\)"):
        capture.grab()
    assert children() == []


def test_one_that_hangs_is_ended(capture: IsolatedCapture) -> None:
    (child,) = children()
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(SourceError, match="the decoder hung for 1 s and was ended"):
        capture.grab()
    assert children() == []


def test_its_limits_hold(capture: IsolatedCapture) -> None:
    (child,) = children()
    lines = Path(f"/proc/{child}/limits").read_text().splitlines()
    limits = {line[:25].strip(): line[26:].split()[0] for line in lines}
    assert limits["Max core file size"] == "0"
    assert limits["Max file size"] == "0"
    assert MEMORY_BYTES < int(limits["Max address space"]) < 2 * MEMORY_BYTES
    assert capture.isOpened()


def test_a_file_on_which_the_decoder_dies_ends_its_stream(video: Path) -> None:
    config = FileSource(path=str(video), isolate=True)
    stream = StreamConfig(name="gate", model="m", source=config)
    with frame_source(stream, folder=Path(), clock=SystemClock()) as source:
        frames = source.frames()
        next(frames)
        os.kill(children()[0], signal.SIGSEGV)
        with pytest.raises(SourceError, match=r"clip\.avi: the decoder crashed \(SIGSEGV\)"):
            list(frames)


def test_no_video_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"this is no video")
    with pytest.raises(SourceError, match="this is no video that can be decoded"):
        read(tmp_path / "clip.mp4", isolate=True)
    assert children() == []


def test_pictures_of_any_size_come_in_turn() -> None:
    decoder = IsolatedJpegs("camera")
    assert decoder.decode(b"") is None
    assert decoder.decode(b"no picture") is None
    for width in (64, 1920, 320, 4000):
        noise = np.random.default_rng(width).integers(0, 255, (width // 2, width, 3))
        content = bytes(cv2.imencode(".jpg", noise.astype(np.uint8))[1])
        picture = decoder.decode(content)
        assert picture is not None
        np.testing.assert_array_equal(picture, cv2.imdecode(np.frombuffer(content, np.uint8), 1))
    bomb = bytearray(jpeg(1))
    at = bomb.find(b"\xff\xc0")
    bomb[at + 5 : at + 9] = b"\xff\xdc\xff\xdc"  # says that it has 65500 pixels a side
    assert decoder.decode(bytes(bomb)) is None
    assert decoder.decode(jpeg(5)) is not None
    decoder.close()
    assert children() == []


def test_a_live_camera_is_connected_again_when_its_decoder_crashes() -> None:
    with http_camera() as camera:
        config = MjpegSource(url=camera.url, isolate=True, reconnect_min_s=0.1)
        stream = StreamConfig(name="gate", model="m", source=config)
        source = frame_source(stream, folder=Path(), clock=SystemClock())
        assert isinstance(source, LiveSource)
        with Viewer(source) as viewer:
            viewer.wait_for_frames(5)
            os.kill(children()[0], signal.SIGSEGV)
            started_s = time.monotonic()
            viewer.wait_for(lambda: viewer.source.reconnects, within_s=5, what="reconnect")
            assert "the decoder crashed (SIGSEGV)" in viewer.source.last_fault
            viewer.wait_for_frames(5)
            print(f"frames again after {time.monotonic() - started_s:.2f} s")  # noqa: T201 - shown by `pytest -s`
    assert children() == []


AGENT = """
import os, signal, sys, time, cv2
from edgehaul_agent.sources.isolated import IsolatedCapture
capture = IsolatedCapture(sys.argv[1], cv2.CAP_FFMPEG, where="w", open_s=9, grab_s=9)
child = capture._decoder._process.pid
os.kill(child, signal.SIGSTOP)
print(child, flush=True)
time.sleep(60)
"""


def test_the_process_ends_with_the_agent(video: Path) -> None:
    """Also when the agent is killed, and the decoder hangs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", AGENT, video], stdout=subprocess.PIPE, text=True, env=environment
    ) as agent:
        assert agent.stdout is not None
        words = Path(f"/proc/{int(agent.stdout.readline())}/cmdline")
        assert "decoder_child" in words.read_text()
        agent.kill()
    until_s = time.monotonic() + 5
    while words.exists() and words.read_text():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_loop_goes_on_in_a_new_process(video: Path) -> None:
    config = FileSource(path=str(video), isolate=True, loop=True)
    stream = StreamConfig(name="gate", model="m", source=config)
    with frame_source(stream, folder=Path(), clock=SystemClock()) as source:
        frames = list(islice(source.frames(), 65))
    assert frames[64].index == 64
    np.testing.assert_array_equal(frames[4].image, frames[64].image)
    assert children() == []


def test_no_descriptor_is_left_open(video: Path) -> None:
    def count() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    for _ in range(3):
        read(video, isolate=True)
        IsolatedJpegs("camera")  # is never used, as when a camera cannot be connected
    assert count() <= before
