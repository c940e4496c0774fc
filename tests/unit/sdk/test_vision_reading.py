"""Pictures and videos from files, good ones and damaged ones."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.errors import DataError
from edgehaul.vision.reading import (
    declared_frames,
    grabbed_frames,
    open_video,
    read_picture,
    require_picture,
)
from tests.fakes.damage import cut_within_frame, damage_frames, write_clip, write_oversized_picture


def test_a_picture_is_read_as_opencv_reads_it(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    for suffix in ("png", "jpg"):
        path = tmp_path / f"a.{suffix}"
        cv2.imwrite(str(path), picture)
        for how in (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_GRAYSCALE_4):
            got = read_picture(path, how)
            assert got is not None
            assert np.array_equal(got, cv2.imread(str(path), how))


@pytest.mark.parametrize(
    "make",
    [
        write_oversized_picture,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\xff\xd8\xff not a picture"),
        lambda path: path.mkdir(),
        lambda _path: None,
    ],
    ids=["oversized", "empty", "noise", "folder", "missing"],
)
def test_what_is_no_picture_is_named(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    make(path)
    assert read_picture(path) is None
    with pytest.raises(DataError, match=r"a\.png: this picture cannot be decoded; replace"):
        require_picture(path)


def numbers(path: Path) -> list[int]:
    capture = open_video(path)
    assert capture is not None
    found = list(grabbed_frames(capture))
    capture.release()
    return found


def test_damaged_frames_are_passed_over(tmp_path: Path) -> None:
    clip = damage_frames(write_clip(tmp_path / "clip.avi"), 3, 4)
    assert numbers(clip) == [0, 1, 2, 5, 6, 7, 8, 9]


def test_a_clip_that_ends_early_gives_what_is_there(tmp_path: Path) -> None:
    clip = cut_within_frame(write_clip(tmp_path / "clip.avi"), 6)
    capture = open_video(clip)
    assert capture is not None
    assert declared_frames(capture) == 10
    assert numbers(clip)[:6] == list(range(6))


def test_nothing_but_our_own_lines_comes_on_stderr(tmp_path: Path) -> None:
    clips = [
        damage_frames(write_clip(tmp_path / "damaged.avi"), 3, 4),
        cut_within_frame(write_clip(tmp_path / "cut.avi"), 6),
        tmp_path / "no index.mp4",
        tmp_path / "missing.mp4",
    ]
    clips[2].write_bytes(b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100))
    program = (
        "import sys; from pathlib import Path; from edgehaul.vision.reading import *;"
        "opened = [open_video(Path(name)) for name in sys.argv[1:]];"
        "print([capture and len(list(grabbed_frames(capture))) for capture in opened])"
    )
    # FFmpeg takes its log level at the first video of a process: hence one of its own.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, clips)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.startswith("[8, ")
    assert done.stdout.endswith(", None, None]\n")
    assert done.stderr == ""


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "good"), [("tree.avi", 68), ("box.mp4", 455)])
def test_real_videos_with_faults(name: str, good: int, shared_data: Path) -> None:
    assert len(numbers(shared_data / "video" / name)) == good
