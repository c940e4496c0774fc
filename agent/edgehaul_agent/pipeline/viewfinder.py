"""The newest frame of a stream for whoever watches; it costs nothing while nobody does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from edgehaul.clock import Clock
from edgehaul.values import Detection, Image


class Sight(msgspec.Struct, frozen=True):
    """A frame and what was found in it.

    Attributes:
        image: The picture, (height, width, 3) uint8 BGR. Nobody changes it.
        found: The objects, each with the number of its track where it has one.
    """

    image: Image
    found: tuple[tuple[Detection, int | None], ...]


class Viewfinder:
    """Hands the newest sight of one stream to its watchers.

    Args:
        clock: Measures.
        fps: Most sights a second.
    """

    def __init__(self, clock: Clock, fps: float) -> None:
        self._clock = clock
        self._interval_s = 1 / fps
        self._changed = threading.Condition()
        self._watchers = 0
        self._number = 0
        self._due_s = float("-inf")
        self._sight: Sight | None = None

    def wants(self) -> bool:
        """Return whether the frame that has just come is to be shown."""
        if not self._watchers or self._clock.monotonic_s() < self._due_s:
            return False
        self._due_s = self._clock.monotonic_s() + self._interval_s
        return True

    def show(self, image: Image, found: Sequence[tuple[Detection, int | None]]) -> None:
        """Show a frame; the caller changes neither it nor the rest any more."""
        with self._changed:
            if self._watchers:
                self._sight = Sight(image, tuple(found))
                self._number += 1
                self._changed.notify_all()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch; the last one who stops lets the picture go."""
        with self._changed:
            self._watchers += 1
        try:
            yield
        finally:
            with self._changed:
                self._watchers -= 1
                if not self._watchers:
                    self._sight = None

    def newer(self, than: int, timeout_s: float) -> tuple[int, Sight | None]:
        """Wait for a newer sight.

        Args:
            than: Number of the last one seen; 0 at first.
            timeout_s: How long.

        Returns:
            Its number, and it; none where none came.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number > than and self._sight, timeout_s)
            if self._number > than and self._sight is not None:
                return self._number, self._sight
            return than, None
