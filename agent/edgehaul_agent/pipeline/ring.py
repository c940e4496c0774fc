"""The last seconds of a stream, as small JPEG pictures in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple


class Still(NamedTuple):
    """A picture of the ring.

    Attributes:
        captured_at_s: Its capture time, UTC seconds.
        jpeg: The picture.
    """

    captured_at_s: float
    jpeg: bytes


class Ring:
    """Keeps pictures in the order of their capture times; the oldest go first.

    Args:
        max_bytes: Most bytes of pictures.
        max_s: Most seconds between the oldest picture and the newest one.
    """

    def __init__(self, max_bytes: int, max_s: float) -> None:
        self.kept_bytes = 0
        self._max_bytes = max_bytes
        self._max_s = max_s
        self._stills: deque[Still] = deque()

    def __iter__(self) -> Iterator[Still]:
        """Return the pictures, the oldest first."""
        return iter(self._stills)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._stills)

    def has_room(self, size: int) -> bool:
        """Return whether a picture of so many bytes comes in without another going."""
        return self.kept_bytes + size <= self._max_bytes

    def add(self, still: Still) -> None:
        """Take a picture that is not older than the newest one.

        One that alone is larger than the ring is not taken.
        """
        if len(still.jpeg) > self._max_bytes:
            return
        self._stills.append(still)
        self.kept_bytes += len(still.jpeg)
        first_s = still.captured_at_s - self._max_s
        while self.kept_bytes > self._max_bytes or self._stills[0].captured_at_s < first_s:
            self._drop()

    def forget_before(self, time_s: float) -> None:
        """Let go of what no longer shows at ``time_s`` or later.

        A picture shows until the next one: the newest of those before stays.
        """
        while len(self._stills) > 1 and self._stills[1].captured_at_s <= time_s:
            self._drop()

    def clear(self) -> None:
        """Let go of all."""
        self._stills.clear()
        self.kept_bytes = 0

    def between(self, start_s: float, end_s: float) -> list[Still]:
        """Return the pictures that show at ``start_s`` or later, and before ``end_s``."""
        times_s = [still.captured_at_s for still in self._stills]
        first = max(bisect_right(times_s, start_s) - 1, 0)
        return [s for s in islice(self._stills, first, None) if s.captured_at_s < end_s]

    def _drop(self) -> None:
        self.kept_bytes -= len(self._stills.popleft().jpeg)


def at_even_times(
    stills: Sequence[Still], start_s: float, end_s: float, fps: float
) -> tuple[bytes, ...]:
    """Return pictures at a constant rate, at least one.

    Capture times are uneven, and films of a constant rate play everywhere. Each interval has the
    picture that shows in its middle: so one that is a little early or late is neither left out
    nor doubled.

    Args:
        stills: The pictures, at least one, in order.
        start_s: When the film begins, UTC seconds; before the first picture that one shows.
        end_s: When it ends.
        fps: Pictures a second.
    """
    times_s = [still.captured_at_s for still in stills]
    count = max(1, round((end_s - start_s) * fps))
    middles_s = (start_s + (number + 0.5) / fps for number in range(count))
    return tuple(stills[max(bisect_right(times_s, at_s) - 1, 0)].jpeg for at_s in middles_s)
