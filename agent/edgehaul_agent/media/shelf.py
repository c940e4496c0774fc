"""The pictures of one stream on the disk: ``{date}/{time}-{kind}-{number}.jpg``."""

from __future__ import annotations

import logging
import re
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edgehaul.config.snapshots import SnapshotSection

_log = logging.getLogger(__name__)

PARTIAL = ".partial"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class Shelf:
    """Knows what is kept, the oldest first, and removes what is too much or too old.

    Only what lies in folders of a date and ends in ``.jpg`` is counted and removed.

    Args:
        folder: The stream's folder; it need not be there.
        section: How much is kept, for how long.
    """

    def __init__(self, folder: Path, section: SnapshotSection) -> None:
        self.section = section
        self.kept_bytes = 0
        self._folder = folder
        self._files: deque[tuple[Path, int]] = deque()
        for day in sorted(folder.glob("*")):
            if _DATE.fullmatch(day.name):
                self._find(day)

    def add(self, path: Path, size: int) -> None:
        """Count a new picture."""
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
            if path.name.endswith(".jpg" + PARTIAL):
                path.unlink(missing_ok=True)
            elif path.suffix == ".jpg":
                self.add(path, path.stat().st_size)
