"""The pictures of events."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2

from edgehaul.config.snapshots import SnapshotSection
from edgehaul.values import Image
from edgehaul_agent.media.archive import Archive
from edgehaul_agent.media.shelf import PARTIAL


class Shot(NamedTuple):
    """A picture to be kept.

    Attributes:
        stream: Name of the stream.
        path: Where, below the stream's folder.
        image: (height, width, 3) uint8 BGR, which nobody changes any more.
        lost: Called where it cannot be written.
    """

    stream: str
    path: str
    image: Image
    lost: Callable[[], None]

    @property
    def nbytes(self) -> int:
        """Size of its pixels."""
        return self.image.nbytes


class Album(Archive[Shot, SnapshotSection]):
    """Keeps pictures as JPEG files."""

    name = "album"
    what = "pictures"
    suffix = ".jpg"
    most_waiting_bytes = 32 * 2**20  # a few whole pictures, or hundreds of parts
    last_words_s = 5.0

    def _save(self, path: Path, item: Shot, section: SnapshotSection) -> int:
        return _write_jpeg(path, item.image, section.quality)


def _write_jpeg(path: Path, image: Image, quality: int) -> int:
    """Write a file that is there whole or not at all; return its size in bytes.

    Raises:
        OSError: It cannot be written.
    """
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    unfinished = path.with_name(path.name + PARTIAL)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with unfinished.open("wb") as stream:
            stream.write(encoded.data)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    return encoded.nbytes
