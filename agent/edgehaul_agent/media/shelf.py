"""The files of one stream on the disk: ``{date}/{time}-{kind}-{number}.jpg``, or ``.webm``."""

from __future__ import annotations

import logging
import re
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgehaul.config.keeping import KeepingSection

_log = logging.getLogger(__name__)

PARTIAL = ".partial"
"""Follows the whole name of a file that is being written; a writer may need its own ending."""
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Shelf:
    """Knows what is kept, the oldest first, and removes what is too much or too old.

    Only what lies in folders of a date and ends in ``suffix`` is counted and removed, and what a
    crash has left unfinished of it.

    Args:
        folder: The stream's folder; it need not be there.
        section: How much is kept, for how long.
        suffix: How the files' names end.
    """

    def __init__(self, folder: Path, section: KeepingSection, suffix: str) -> None:
        self.section = section
        self.kept_bytes = 0
        self._suffix = suffix
        self._folder = folder
        self._files: deque[tuple[Path, int]] = deque()
        for day in sorted(folder.glob("*")):
            if _DATE.fullmatch(day.name):
                self._find(day)

    def add(self, path: Path, size: int) -> None:
        """Count a new file."""
        self._files.append((path, size))
        self.kept_bytes += size

    def trim(self, now_s: float) -> None:
        """Remove what is too much, or too old at this time (UTC seconds)."""
        first = datetime.fromtimestamp(now_s, UTC) - timedelta(days=self.section.max_days)
        oldest = first.date().isoformat()
        while self._files:
            path, size = self._files[0]
            if self.kept_bytes <= self.section.max_bytes and path.parent.name >= oldest:
                return
            self._files.popleft()
            self.kept_bytes -= size
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log.warning("%s: cannot be removed: %s", path, error.strerror or error)
            with suppress(OSError):  # it is not empty yet
                path.parent.rmdir()

    def _find(self, day: Path) -> None:
        for path in sorted(day.glob("*")):
            if self._suffix + PARTIAL in path.name:
                path.unlink(missing_ok=True)
            elif path.suffix == self._suffix:
                self.add(path, path.stat().st_size)
