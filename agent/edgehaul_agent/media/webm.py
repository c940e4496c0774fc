"""Films that every browser plays: VP8 in WebM.

Of what OpenCV's wheels can write it is the only good choice. They have no encoder for H.264, whose
free ones are under the GPL, nor for AV1; browsers do not play MPEG-4 Part 2 (``mp4v``) nor Motion
JPEG; and VP9 takes nine times as long. libvpx is under a BSD licence.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from edgehaul.errors import DeviceError
from edgehaul.values import Image
from edgehaul_agent.media.shelf import PARTIAL

SUFFIX = ".webm"
_MATROSKA = bytes.fromhex("428288") + b"matroska"
"""DocType in the head of a Matroska file (RFC 8794, RFC 9559)."""
_WEBM = bytes.fromhex("428284") + b"webm" + bytes.fromhex("ec820000")
"""The same of a WebM file, which is Matroska with some codecs only, and a void element of four
bytes, so that what follows stays where it is."""
_HEAD_BYTES = 64
_PROBE_BYTES = 2**20


def write_webm(path: Path, jpegs: Sequence[bytes], fps: float) -> int:
    """Write a film that is there whole or not at all; return its size in bytes.

    Args:
        path: Where; its folder is made.
        jpegs: The pictures, each for ``1 / fps`` seconds. The first one gives the size, which is
            even.
        fps: Pictures a second.

    Raises:
        OSError: It cannot be written.
        DeviceError: OpenCV on this machine cannot encode it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _require_room(path.parent, jpegs)
    # By its ending OpenCV chooses the container. Asked for WebM it complains of the codec on
    # stderr with each file, although it writes just the same.
    unfinished = path.with_name(path.name + PARTIAL + ".mkv")
    unfinished.touch()  # says why, where it cannot be; OpenCV would not
    try:
        _encode(unfinished, jpegs, fps)
        _require_whole(unfinished, len(jpegs))
        with unfinished.open("r+b") as stream:
            head = stream.read(_HEAD_BYTES)
            stream.seek(0)
            stream.write(head.replace(_MATROSKA, _WEBM))
            stream.flush()
            os.fsync(stream.fileno())
            size = stream.seek(0, os.SEEK_END)
        unfinished.replace(path)
    except (OSError, cv2.error, DeviceError):
        unfinished.unlink(missing_ok=True)
        raise
    return size


def require_encoder(folder: Path) -> None:
    """Write a tiny film into a folder, and remove it.

    Raises:
        OSError: It cannot be written.
        DeviceError: OpenCV on this machine cannot encode it.
    """
    _, jpeg = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))
    path = folder / f"trial{SUFFIX}"
    write_webm(path, [jpeg.tobytes()] * 2, 5.0)
    path.unlink()


def _require_room(folder: Path, jpegs: Sequence[bytes]) -> None:
    """Raise an error where the disk is full, before seconds are spent on encoding in vain.

    Raises:
        OSError: It is.
    """
    # VP8 mostly takes less than the JPEG pictures that it is made of.
    needed = sum(len(jpeg) for jpeg in {id(jpeg): jpeg for jpeg in jpegs}.values())
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _encode(path: Path, jpegs: Sequence[bytes], fps: float) -> None:
    image = _decoded(jpegs[0])
    height, width = image.shape[:2]
    with _writer(path, fps, (width, height)) as writer:
        for number, jpeg in enumerate(jpegs):
            if number and jpeg is not jpegs[number - 1]:
                image = _decoded(jpeg)
            if image.shape[:2] != (height, width):  # a camera may change its resolution
                image = np.asarray(cv2.resize(image, (width, height)), np.uint8)
            writer.write(image)


@contextmanager
def _writer(path: Path, fps: float, size: tuple[int, int]) -> Iterator[cv2.VideoWriter]:
    fourcc = cv2.VideoWriter.fourcc(*"VP80")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size)
    try:
        if not writer.isOpened():
            raise DeviceError(
                "OpenCV on this machine cannot encode VP8",
                remedy="install opencv-python-headless from PyPI, or leave clips out",
            )
        yield writer
    finally:
        writer.release()


def _require_whole(path: Path, frames: int) -> None:
    """Raise an error where not all frames are on the disk, which OpenCV does not tell.

    Raises:
        OSError: They are not.
    """
    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        count = 0
        while film.grab():
            count += 1
    finally:
        film.release()
    if count == frames:
        return
    with path.open("ab") as stream:  # what refused the frames refuses this too, and says why
        stream.write(bytes(_PROBE_BYTES))
    raise OSError("not all frames have arrived on the disk")


def _decoded(jpeg: bytes) -> Image:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(image, np.uint8)
