"""Whole lines from bytes that come in any pieces."""

from __future__ import annotations

import re


class LineBuffer:
    """Keeps what is not yet whole until the rest comes.

    Args:
        end: Matches the end of what is whole; it may match across pieces.
        limit: So many bytes without an end are kept, and of more the last.

    Attributes:
        cut: How often a beginning was thrown away.
    """

    def __init__(self, end: re.Pattern[bytes], *, limit: int) -> None:
        self.cut = 0
        self._end = end
        self._limit = limit
        self._rest = b""

    def push(self, data: bytes) -> bytes:
        """Return all that is whole now, in one piece; empty where nothing is."""
        content = self._rest + data
        ends = [match.end() for match in self._end.finditer(content)]
        whole, self._rest = content[: ends[-1] if ends else 0], content[ends[-1] if ends else 0 :]
        if len(self._rest) > self._limit:
            self.cut += 1
            self._rest = self._rest[-self._limit :]
        return whole
