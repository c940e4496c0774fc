"""Time and values without flicker: what rules over time are built of."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class StreamTime:
    """The capture time of a stream as seconds that never run backwards.

    A clock that is set back stands still for one frame and goes on from there, so no duration
    is ever negative. One that is set forward can not be told from frames that are missing: that
    time counts as passed.
    """

    def __init__(self) -> None:
        self._last_captured_at_s: float | None = None
        self._now_s = 0.0

    def at(self, captured_at_s: float) -> float:
        """Return the seconds since the first frame, for the frame captured at this time."""
        last_s = self._last_captured_at_s
        if last_s is not None and captured_at_s > last_s:
            self._now_s += captured_at_s - last_s
        self._last_captured_at_s = captured_at_s
        return self._now_s


class Settled(Generic[T]):
    """A value that changes only when a new one has held for some time (a debounced input).

    Attributes:
        value: The value that is believed.
        since_s: When it began to hold, before it was believed.
    """

    def __init__(self, value: T, *, hold_s: float) -> None:
        self.value = value
        self.since_s = 0.0
        self._hold_s = hold_s
        self._next: T | None = None
        self._next_since_s = 0.0

    def update(self, value: T, now_s: float) -> bool:
        """Take in the value of this moment; return whether another one is believed from now on."""
        if value == self.value:
            self._next = None
            return False
        if value != self._next:
            self._next, self._next_since_s = value, now_s
        if now_s - self._next_since_s < self._hold_s:
            return False
        self.value, self.since_s, self._next = value, self._next_since_s, None
        return True
