"""The files of one stream on the disk: ``{date}/{time}-{kind}-{number}.jpg``, or ``.webm``."""

from __future__ import annotations

import heapq
import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgehaul.config.keeping import KeepingSection

_log = logging.getLogger(__name__)

PARTIAL = ".partial"
"""Follows the whole name of a file that is being written; a writer may need its own ending."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_AHEAD = 1000
"""So many of the oldest are known by name; the folder is looked through for the next ones."""


class Shelf:
    """Knows how much is kept, and removes what is too much or too old, the oldest first.

    Only what lies in folders of a date and ends in ``suffix`` is counted and removed, and what a
    crash has left unfinished of it. What is kept is known by its size for each day, and not by
    name: a quota holds many thousands of small files.

    Args:
        folder: The stream's folder; it need not be there.
        section: How much is kept, for how long.
        suffix: How the files' names end.
    """

    def __init__(self, folder: Path, section: KeepingSection, suffix: str) -> None:
        self.section = section
        self._suffix = suffix
        self._folder = folder
        self._bytes: dict[str, int] = {}
        self._ahead: deque[tuple[str, int]] = deque()
        self._ahead_day = ""
        self._stuck: set[tuple[str, str]] = set()
        for day in sorted(folder.glob("*")):
            if _DATE.fullmatch(day.name):
                for unfinished in day.glob(f"*{suffix}{PARTIAL}*"):
                    unfinished.unlink(missing_ok=True)
                self._bytes[day.name] = sum(size for _, size in self._kept(day.name))

    @property
    def kept_bytes(self) -> int:
        """Size of all that is kept."""
        return sum(self._bytes.values())

    def add(self, path: Path, size: int) -> None:
        """Count a new file."""
        day = path.parent.name
        self._bytes[day] = self._bytes.get(day, 0) + size

    def trim(self, now_s: float) -> None:
        """Remove what is too much, or too old at this time (UTC seconds).

        Raises:
            OSError: A folder cannot be looked through.
        """
        first = datetime.fromtimestamp(now_s, UTC) - timedelta(days=self.section.max_days)
        oldest = first.date().isoformat()
        while self._bytes:
            day = min(self._bytes)
            if self.kept_bytes <= self.section.max_bytes and day >= oldest:
                return
            if self._ahead and self._ahead_day == day:
                self._remove(day, *self._ahead.popleft())
            else:
                self._look_through(day)

    def _look_through(self, day: str) -> None:
        """Learn which files of a day are the oldest, and what is there: others may remove."""
        size = 0

        def counted() -> Iterator[tuple[str, int]]:
            nonlocal size
            for file in self._kept(day):
                size += file[1]
                yield file

        self._ahead, self._ahead_day = deque(heapq.nsmallest(_AHEAD, counted())), day
        self._bytes[day] = size
        if not self._ahead:
            del self._bytes[day]
            with suppress(OSError):  # something else lies in it, or it has gone
                (self._folder / day).rmdir()

    def _remove(self, day: str, name: str, size: int) -> None:
        path = self._folder / day / name
        self._bytes[day] -= size
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._stuck.add((day, name))
            _log.warning("%s: cannot be removed: %s", path, error.strerror or error)
        if not self._ahead:
            with suppress(OSError):  # it is not empty yet
                path.parent.rmdir()

    def _kept(self, day: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of a day's files, but for those that could not be removed."""
        try:
            with os.scandir(self._folder / day) as entries:
                for entry in entries:
                    if entry.name.endswith(self._suffix) and (day, entry.name) not in self._stuck:
                        with suppress(FileNotFoundError):  # somebody else was faster
                            yield entry.name, entry.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return
