"""A source around another one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from edgehaul_agent.sources.base import Condition, FrameSource


class WrappedSource:
    """All of a source but for its frames.

    Args:
        source: Gives the frames.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    @property
    def bad(self) -> int:
        """Number of frames that could not be decoded."""
        return self._source.bad

    @property
    def skipped(self) -> int:
        """Number of frames that were passed over undecoded."""
        return self._source.skipped

    @property
    def strided(self) -> int:
        """Number of these that the stride has passed over."""
        return self._source.strided

    def condition(self) -> Condition:
        """Return how the source is."""
        return self._source.condition()

    def __enter__(self) -> Self:
        """Open the source."""
        self._source.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self._source.__exit__(kind, error, trace)
