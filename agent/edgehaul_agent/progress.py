"""Whether loops still move on, for whoever watches them."""

from __future__ import annotations

from edgehaul.clock import Clock


class Progress:
    """When one loop last moved on.

    One thread tells, any other may ask. A loop that waits for something that may never come
    *rests*, and is never stuck; everything else it does should take a short time.

    Args:
        clock: Measures.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_s: float | None = None

    def working(self) -> None:
        """Say that a piece of work begins that should not take long."""
        self._since_s = self._clock.monotonic_s()

    def resting(self) -> None:
        """Say that nothing is done now, perhaps for a long time."""
        self._since_s = None

    def stuck_s(self) -> float:
        """Return how long the present piece of work has been taking; 0 at rest."""
        since_s = self._since_s
        return 0.0 if since_s is None else max(0.0, self._clock.monotonic_s() - since_s)
