"""Folders of images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from edgehaul.clock import Clock
from edgehaul.errors import SourceError
from edgehaul.values import Frame, Image
from edgehaul_agent.sources.base import PLAYING, Condition, always, recording_start_s, refusals

_log = logging.getLogger(__name__)

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class ImageFolder:
    """The images of a folder, in the order of their names. One that is broken counts as bad.

    Args:
        path: The folder.
        stream: Name of the stream, for the frames.
        clock: Gives capture times.
        interval_s: Time between two images in their capture times.
        stride: Yield every n-th image.
    """

    def __init__(
        self, path: Path, *, stream: str, clock: Clock, interval_s: float = 1.0, stride: int = 1
    ) -> None:
        self.bad = 0
        self.skipped = self.strided = 0
        self._path = path
        self._stream = stream
        self._clock = clock
        self._interval_s = interval_s
        self._stride = stride
        self._files: list[Path] = []

    def __enter__(self) -> Self:
        """List the folder.

        Raises:
            SourceError: There is no such folder, it cannot be read, or no image is in it.
        """
        with refusals(self._path):
            if not self._path.is_dir():
                raise SourceError(
                    "no such folder", where=self._path, remedy="correct the path of the source"
                )
            self._files = sorted(p for p in self._path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not self._files:
            raise SourceError(
                "no image in this folder",
                where=self._path,
                remedy=f"images end in {', '.join(sorted(SUFFIXES))}",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget the list."""
        self._files = []

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield the images.

        Raises:
            SourceError: Not one of them can be decoded.
        """
        duration_s = len(self._files) * self._interval_s
        start_s = recording_start_s(self._clock, duration_s=duration_s, realtime=False)
        tried = decoded = 0
        for index, file in enumerate(self._files):
            is_strided = index % self._stride != 0
            if is_strided or not wants():
                self.skipped += 1
                self.strided += is_strided
                continue
            tried += 1
            image = _read(file)
            if image is None:
                self.bad += 1
                _log.warning("%s: cannot be decoded, passed over", file)
                continue
            decoded += 1
            yield Frame(self._stream, index, start_s + index * self._interval_s, image)
        if tried and not decoded:
            raise SourceError(
                "not one image of this folder can be decoded",
                where=self._path,
                remedy="check that the files are whole",
            )


def _read(file: Path) -> Image | None:
    try:
        content = np.frombuffer(file.read_bytes(), dtype=np.uint8)
        # OpenCV asserts on an empty buffer, and raises on sizes beyond its limits.
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else image.astype(np.uint8, copy=False)
