"""Live cameras through OpenCV's ``VideoCapture``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from edgehaul.clock import Clock
from edgehaul.errors import SourceError
from edgehaul.values import Image

_MS_PER_S = 1000.0
_NEARLY = 0.95


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Return whether there is something to read."""
        ...

    def get(self, propId: int, /) -> float:  # noqa: N803 - OpenCV's name
        """Return a property; 0 where it is unknown."""
        ...

    def set(self, propId: int, value: float, /) -> bool:  # noqa: N803 - OpenCV's name
        """Ask for a property; return whether it is one that can be had."""
        ...

    def grab(self) -> bool:
        """Take the next frame; return whether there was one."""
        ...

    def retrieve(self) -> tuple[bool, Image | None]:
        """Return whether the frame taken last can be made a picture, and the picture."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


def quiet_opencv() -> None:
    """Keep FFmpeg and OpenCV from writing to stderr: faults are noted and counted here.

    Their lines also may hold addresses.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Distributions build OpenCV without it; theirs is only read for GStreamer.
    if hasattr(cv2.utils, "logging"):
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_FATAL)


def open_capture(target: str, backend: int, options: Sequence[int] = ()) -> Capture:
    """Return a capture, open or not.

    Args:
        target: Address, path or pipeline.
        backend: One of ``cv2.CAP_...``.
        options: Properties, each followed by its value.
    """
    quiet_opencv()
    return cv2.VideoCapture(target, backend, list(options))  # type: ignore[return-value]  # the stubs know cv2.Mat only


class CaptureLink:
    """A link to a camera that OpenCV reads.

    Args:
        capture: Open.
        where: The camera as errors may show it.
        clock: Tells how long a grab took.
        read_timeout_s: A grab that takes as long has met a silent camera, whatever it returns:
            at its time-out FFmpeg hands out first what was left in the decoder.
    """

    def __init__(
        self, capture: Capture, *, where: str, clock: Clock, read_timeout_s: float
    ) -> None:
        self._capture = capture
        self._where = where
        self._clock = clock
        self._read_timeout_s = read_timeout_s

    def grab(self) -> float | None:
        """Wait for the next frame; return its timestamp in seconds where it has one.

        Raises:
            SourceError: No frame came in time, or the stream has ended.
        """
        started_s = self._clock.monotonic_s()
        try:
            grabbed = self._capture.grab()
        except cv2.error as error:
            raise SourceError(
                f"the camera cannot be read: {error.err}", where=self._where
            ) from error
        took_s = self._clock.monotonic_s() - started_s
        if took_s >= _NEARLY * self._read_timeout_s:
            raise SourceError(f"no frame for {took_s:.1f} s", where=self._where)
        if not grabbed:
            raise SourceError("the camera has ended the stream", where=self._where)
        timestamp_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        return timestamp_ms / _MS_PER_S if timestamp_ms > 0 else None

    def retrieve(self) -> Image | None:
        """Return the grabbed frame as a picture; none where it cannot be decoded."""
        try:
            decoded, image = self._capture.retrieve()
        except cv2.error:
            return None
        return image.astype(np.uint8, copy=False) if decoded and image is not None else None

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()
