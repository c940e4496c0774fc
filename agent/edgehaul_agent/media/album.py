"""Writing pictures on a thread of its own, which holds nobody up."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import cv2

from edgehaul.clock import Clock, SystemClock
from edgehaul.config.snapshots import SnapshotSection
from edgehaul.values import Image
from edgehaul_agent.media.shelf import PARTIAL, Shelf

_log = logging.getLogger(__name__)

_MOST_WAITING_BYTES = 32 * 2**20
"""Pixels that may wait for the disk: a few whole pictures, or hundreds of parts."""
_LOOK_EVERY_S = 600.0
"""Also where nothing happens, pictures become too old."""
_LAST_WORDS_S = 5.0
"""Longest wait for the disk at the end."""


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


class Album:
    """Keeps pictures below ``{folder}/{stream}``. Its thread starts with the first stream.

    Args:
        folder: Where.
        clock: Says what is too old.
    """

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self._folder = folder
        self._clock = clock or SystemClock()
        self._sections: dict[str, SnapshotSection] = {}
        self._shelves: dict[str, Shelf] = {}
        self._waiting: deque[Shot] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._told = ""
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what waits, unless the disk hangs."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_S)

    def keep(self, stream: str, section: SnapshotSection) -> None:
        """Keep pictures of a stream from now on, so many and for so long."""
        with self._changed:
            self._sections = self._sections | {stream: section}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="album", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def put(self, shot: Shot) -> bool:
        """Take a picture; return whether there was room. It never waits."""
        with self._changed:
            is_full = self._waiting_bytes + shot.image.nbytes > _MOST_WAITING_BYTES
            if self._is_closing or (self._waiting and is_full):
                return False
            self._waiting.append(shot)
            self._waiting_bytes += shot.image.nbytes
            self._changed.notify_all()
        return True

    # ---- its thread -----------------------------------------------------------------------

    def _run(self) -> None:
        known: dict[str, SnapshotSection] = {}
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._is_news, known), _LOOK_EVERY_S)
                shot = self._waiting.popleft() if self._waiting else None
                known = self._sections
                if shot is None and self._is_closing:
                    return
            if shot is not None:
                self._write(shot, known[shot.stream])
                with self._changed:
                    self._waiting_bytes -= shot.image.nbytes
            shot = None  # its pixels shall not wait for the next one
            for stream, section in known.items():
                self._trim(stream, section)

    def _is_news(self, known: dict[str, SnapshotSection]) -> bool:
        return bool(self._waiting) or self._is_closing or known is not self._sections

    def _write(self, shot: Shot, section: SnapshotSection) -> None:
        path = self._folder / shot.stream / shot.path
        try:
            shelf = self._shelf(shot.stream, section)
            shelf.add(path, _write_jpeg(path, shot.image, section.quality))
        except (OSError, cv2.error) as error:
            shot.lost()
            reason = getattr(error, "strerror", None) or str(error)
            self._tell(f"{self._folder / shot.stream}: pictures cannot be written: {reason}")

    def _trim(self, stream: str, section: SnapshotSection) -> None:
        try:
            self._shelf(stream, section).trim(self._clock.now_s())
        except OSError as error:
            self._tell(f"{self._folder / stream}: cannot be looked through: {error}")

    def _shelf(self, stream: str, section: SnapshotSection) -> Shelf:
        shelf = self._shelves.get(stream)
        if shelf is None:
            shelf = self._shelves[stream] = Shelf(self._folder / stream, section)
        shelf.section = section
        return shelf

    def _tell(self, fault: str) -> None:
        level = logging.DEBUG if fault == self._told else logging.WARNING
        self._told = fault
        _log.log(level, "%s", fault)


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
