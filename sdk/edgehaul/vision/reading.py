"""Pictures and videos from files: what is damaged is passed over or named, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edgehaul.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# FFmpeg would write decoding faults on stderr; it asks only once, at the first video of a process.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_MOST_FAILED = 1000
"""So many damaged frames in a row are the end, whatever number the header declares."""


def read_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    """Return the picture in a file, or none where it cannot be read or decoded.

    Args:
        path: The file.
        how: One of OpenCV's ``IMREAD`` modes. By default grey and transparent pictures become
            three colours, (height, width, 3) BGR, and sideways ones are turned.
    """
    try:
        content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        # OpenCV asserts on an empty buffer, and raises where a header declares more than it
        # would hold.
        picture = cv2.imdecode(content, how) if content.size else None
    except (OSError, cv2.error):
        return None
    return None if picture is None else np.asarray(picture, dtype=np.uint8)


def require_picture(path: Path, how: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """Return the picture in a file; see :func:`read_picture`.

    Raises:
        DataError: It cannot be read or decoded.
    """
    picture = read_picture(path, how)
    if picture is None:
        raise DataError("this picture cannot be decoded", where=path, remedy="replace the file")
    return picture


def open_video(path: Path) -> cv2.VideoCapture | None:
    """Return a video file opened for reading, or none where it is no video."""
    # OpenCV would write on stderr by itself what the caller is told.
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(before)
    return capture if capture.isOpened() else None


def declared_frames(capture: cv2.VideoCapture) -> int:
    """Return how many frames the video's header declares; 0 where it does not say."""
    return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))


def grabbed_frames(capture: cv2.VideoCapture) -> Iterator[int]:
    """Grab frame after frame to the end and yield the number of each that can be had.

    A damaged frame fails as the end does, so that it is the end only where none of the frames
    that the header declares follows; those passed over count in the numbers.
    """
    declared = declared_frames(capture)
    index = failed = 0
    while failed <= _MOST_FAILED and (not failed or index < declared):
        if capture.grab():
            failed = 0
            yield index
        else:
            failed += 1
        index += 1
