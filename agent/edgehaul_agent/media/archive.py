"""Writing files of events on a thread of its own, which holds nobody up."""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import cv2

from edgehaul.clock import Clock, SystemClock
from edgehaul.config.keeping import KeepingSection
from edgehaul.errors import EdgeHaulError
from edgehaul_agent.media.shelf import Shelf

_log = logging.getLogger(__name__)

FOLDER = "media"
"""Where files of events lie, below the device's root."""


def name_below_root(stream: str, path: str) -> str:
    """Return how messages name a file: ``media/{stream}/{path}``."""
    return f"{FOLDER}/{stream}/{path}"


class Keepsake(Protocol):
    """Something to be kept."""

    @property
    def stream(self) -> str:
        """Name of the stream."""
        ...

    @property
    def path(self) -> str:
        """Where, below the stream's folder."""
        ...

    @property
    def lost(self) -> Callable[[], None]:
        """Called where it cannot be written."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that it takes until it is written."""
        ...


Item = TypeVar("Item", bound=Keepsake)
Kept = TypeVar("Kept", bound=KeepingSection)


class Archive(ABC, Generic[Item, Kept]):
    """Keeps files below ``{folder}/{stream}``. Its thread starts with the first stream.

    Args:
        folder: Where.
        clock: Says what is too old.
    """

    name: ClassVar[str]
    """Of the thread."""
    what: ClassVar[str]
    """Its files, as people call them."""
    suffix: ClassVar[str]
    most_waiting_bytes: ClassVar[int]
    """Memory that may wait for the disk."""
    last_words_s: ClassVar[float]
    """Longest wait for the disk at the end."""
    look_every_s: ClassVar[float] = 600.0
    """Also where nothing happens, files become too old."""
    niceness: ClassVar[int] = 0
    """How far the thread stands back behind the others, where the system can do that."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self._folder = folder
        self._sections: dict[str, Kept] = {}
        self._shelves: dict[str, Shelf] = {}
        self._waiting: deque[Item] = deque()
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
            self._thread.join(self.last_words_s)
            if self._thread.is_alive():
                _log.warning("%s: %s could not be written in time", self._folder, self.what)

    def keep(self, stream: str, section: Kept) -> None:
        """Keep files of a stream from now on, so many and for so long."""
        with self._changed:
            self._sections = self._sections | {stream: section}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def put(self, item: Item) -> bool:
        """Take an item; return whether there was room. It never waits."""
        size = item.nbytes
        with self._changed:
            is_full = self._waiting_bytes + size > self.most_waiting_bytes
            if self._is_closing or (self._waiting and is_full):
                return False
            self._waiting.append(item)
            self._waiting_bytes += size
            self._changed.notify_all()
        return True

    @abstractmethod
    def _save(self, path: Path, item: Item, section: Kept) -> int:
        """Write a file that is there whole or not at all; return its size in bytes.

        Raises:
            OSError: It cannot be written.
            EdgeHaulError: It cannot be made.
        """

    def _look_round(self) -> None:
        """Do what else is to be done now and then, on the archive's thread."""

    # ---- its thread -----------------------------------------------------------------------

    def _run(self) -> None:
        if self.niceness:
            with suppress(OSError, AttributeError):  # not every system can do it for one thread
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self.niceness)
        known: dict[str, Kept] = {}
        while True:
            with self._changed:
                self._changed.wait_for(partial(self._is_news, known), self.look_every_s)
                item = self._waiting.popleft() if self._waiting else None
                known = self._sections
                if item is None and self._is_closing:
                    return
            if item is not None:
                self._write(item, known[item.stream])
                with self._changed:
                    self._waiting_bytes -= item.nbytes
            self._look_round()
            item = None  # its memory shall not wait for the next one
            for stream, section in known.items():
                self._trim(stream, section)

    def _is_news(self, known: dict[str, Kept]) -> bool:
        return bool(self._waiting) or self._is_closing or known is not self._sections

    def _write(self, item: Item, section: Kept) -> None:
        path = self._folder / item.stream / item.path
        try:
            shelf = self._shelf(item.stream, section)
            shelf.add(path, self._save(path, item, section))
        except (OSError, cv2.error, EdgeHaulError) as error:
            item.lost()
            reason = getattr(error, "strerror", None) or str(error)
            self._tell(f"{self._folder / item.stream}: {self.what} cannot be written: {reason}")

    def _trim(self, stream: str, section: Kept) -> None:
        try:
            self._shelf(stream, section).trim(self.clock.now_s())
        except OSError as error:
            self._tell(f"{self._folder / stream}: cannot be looked through: {error}")

    def _shelf(self, stream: str, section: Kept) -> Shelf:
        shelf = self._shelves.get(stream)
        if shelf is None:
            shelf = self._shelves[stream] = Shelf(self._folder / stream, section, self.suffix)
        shelf.section = section
        return shelf

    def _tell(self, fault: str) -> None:
        level = logging.DEBUG if fault == self._told else logging.WARNING
        self._told = fault
        _log.log(level, "%s", fault)
