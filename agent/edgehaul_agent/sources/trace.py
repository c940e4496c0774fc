"""Recorded traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from edgehaul.clock import Clock
from edgehaul.errors import SourceError
from edgehaul.motion.fixes import read_trace
from edgehaul.values import Fix
from edgehaul_agent.sources.base import paced, refusals


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

    def __enter__(self) -> Self:
        """Read the file.

        Raises:
            DataError: The file is missing, or a row of it cannot be read.
        """
        with refusals(self._path):
            if not self._path.is_file():
                raise SourceError(
                    "no such trace", where=self._path, remedy="correct the path of the source"
                )
            self._fixes = read_trace(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Forget the fixes."""
        self._fixes = ()

    def fixes(self) -> Iterator[Fix]:
        """Yield the fixes, sorted by time."""
        yield from paced(self._fixes, self._clock, realtime=self._realtime)
