"""Small videos in many codecs and containers, and damage to them."""

import random
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np

_FRAMES = 12
_SIZE = (176, 144)
_BY_OPENCV = (
    ("MJPG", "avi"),
    ("mp4v", "mp4"),
    ("XVID", "avi"),
    ("VP80", "webm"),
    ("VP90", "webm"),
    ("FFV1", "mkv"),
    ("MPG2", "mpg"),
    ("DIVX", "ts"),
    ("FLV1", "flv"),
    ("WMV2", "asf"),
    ("png ", "mov"),
    ("H263", "3gp"),
)
_BY_GSTREAMER = (
    ("x264enc key-int-max=4 ! h264parse ! mp4mux", "h264.mp4"),
    ("x264enc key-int-max=4 bframes=2 ! h264parse ! mpegtsmux", "h264.ts"),
    ("x265enc key-int-max=4 ! h265parse ! matroskamux", "h265.mkv"),
)


def write_clips(folder: Path) -> dict[str, bytes]:
    """Return short clips by name: what OpenCV can write, and H.264 and H.265 where GStreamer is."""
    for code, suffix in _BY_OPENCV:
        path = folder / f"{code.strip()}.{suffix}"
        fourcc = cv2.VideoWriter.fourcc(*code)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 10.0, _SIZE)
        for index in range(_FRAMES):
            image = np.full((_SIZE[1], _SIZE[0], 3), 40, np.uint8)
            cv2.circle(image, (20 + 10 * index, 70), 20, (200, 100, 20 * index), -1)
            writer.write(image)
        writer.release()
    if shutil.which("gst-launch-1.0"):
        caps = f"video/x-raw,format=I420,width={_SIZE[0]},height={_SIZE[1]},framerate=10/1"
        for encoder, name in _BY_GSTREAMER:
            pipeline = f"videotestsrc num-buffers={_FRAMES} pattern=ball ! {caps} ! {encoder}"
            command = f"gst-launch-1.0 -q {pipeline} ! filesink location={folder / name}"
            # What is not installed leaves an empty file, or none.
            subprocess.run(command.split(), capture_output=True, check=False, timeout=60)
    files = [path for path in sorted(folder.iterdir()) if path.stat().st_size]
    return {path.name: path.read_bytes() for path in files}


def damaged(clips: dict[str, bytes], seed: int) -> tuple[str, bytes]:
    """Return a clip's name and its content with damage that the seed alone decides."""
    chance = random.Random(seed)
    name = chance.choice(sorted(clips))
    data = bytearray(clips[name])
    for _ in range(chance.randint(1, 3)):
        data = _once(data, clips, chance)
    return name, bytes(data)


def _once(data: bytearray, clips: dict[str, bytes], chance: random.Random) -> bytearray:
    if not data:
        return data
    kind = chance.choice(["flip", "flip", "head", "cut", "splice", "graft", "zero", "number"])
    at, length = chance.randrange(len(data)), chance.randint(1, 2000)
    if kind in {"flip", "head"}:
        # Most headers are at one of the ends.
        end = len(data) if kind == "flip" else min(len(data), 600)
        for _ in range(chance.choice([1, 1, 4, 30])):
            data[chance.randrange(end)] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del data[at:]
    elif kind == "splice":
        start = chance.randrange(len(data))
        data[at : at + chance.choice([0, length])] = data[start : start + length]
    elif kind == "graft":
        other = clips[chance.choice(sorted(clips))]
        start = chance.randrange(len(other))
        data[at : at + chance.choice([0, length])] = other[start : start + length]
    elif kind == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    else:
        number = chance.choice([0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])
        data[at : at + 4] = number.to_bytes(4, chance.choice(["big", "little"]))
    return data
