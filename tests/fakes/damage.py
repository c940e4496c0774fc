"""Pictures and videos that are damaged on purpose."""

import re
import zlib
from pathlib import Path

import cv2
import numpy as np


def write_oversized_picture(path: Path, side_px: int = 100_000) -> Path:
    """Write a PNG whose header declares more than any decoder would hold."""
    head = side_px.to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + checksum

    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def write_clip(path: Path, frames: int = 10) -> Path:
    """Write an AVI of JPEG pictures that grow lighter by 20 levels each."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    return path


def damage_frames(path: Path, *indices: int) -> Path:
    """Overwrite frames of such a clip with zeros."""
    content = bytearray(path.read_bytes())
    starts = _starts(content)
    for index in indices:
        end = content.find(b"\xff\xd9", starts[index])
        content[starts[index] : end + 2] = bytes(end + 2 - starts[index])
    path.write_bytes(content)
    return path


def cut_within_frame(path: Path, index: int) -> Path:
    """Cut such a clip off in the middle of a frame."""
    content = path.read_bytes()
    path.write_bytes(content[: _starts(content)[index] + 50])
    return path


def _starts(content: bytes | bytearray) -> list[int]:
    return [match.start() for match in re.finditer(rb"\xff\xd8\xff", content)]
