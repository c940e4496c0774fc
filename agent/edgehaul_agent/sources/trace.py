"""Recorded traces."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from edgehaul.clock import Clock
from edgehaul.errors import SourceError
from edgehaul.motion.fixes import read_trace_counted
from edgehaul.values import Fix
from edgehaul_agent.sources.base import PLAYING, Condition, paced, refusals

_LOGGER = logging.getLogger(__name__)


class TraceFile:
    """The fixes of a CSV or GPX file.

    Args:
        path: The file.
        clock: Gives the pace; the trace has its own times.
        realtime: Whether to keep to the trace's own pace.
    """

    is_live = False

    def __init__(self, path: Path, *, clock: Clock, realtime: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._realtime = realtime
        self._fixes: tuple[Fix, ...] = ()
        self._bad = 0

    def __enter__(self) -> Self:
        """Read the file.

        Raises:
            SourceError: The file is missing.
            DataError: It cannot be read, or no row of it is a fix.
        """
        with refusals(self._path):
            if not self._path.is_file():
                raise SourceError(
                    "no such trace", where=self._path, remedy="correct the path of the source"
                )
            read = read_trace_counted(self._path)
        if read.rejected:
            first = read.faults[0] if read.faults else ""
            _LOGGER.warning("%s: %d rows are no fix: %s", self._path, read.rejected, first)
        self._fixes, self._bad = read.fixes, read.rejected
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget the fixes."""
        self._fixes = ()

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def fixes(self) -> Iterator[Fix]:
        """Yield the fixes, sorted by time."""
        yield from paced(self._fixes, self._clock, realtime=self._realtime)

    def bad(self) -> int:
        """Return the number of rows that were no fix."""
        return self._bad
