"""When the spool commits: less often than messages come, and sooner for those that matter."""

from __future__ import annotations

from edgehaul.clock import Clock
from edgehaul.messages.payloads import Lane
from edgehaul_agent.delivery.lanes import MOST_WAIT_S


class CommitPace:
    """Counts the time from commit to commit, so that what comes after a pause waits for nothing.

    Not thread-safe.

    Args:
        group_ms: Time in ms between two commits of telemetry.
        clock: Measures.
    """

    def __init__(self, group_ms: int, clock: Clock) -> None:
        self._group_s = self._pause_s = group_ms / 1000
        self._clock = clock
        self._began_at_s = -1e9

    def take_in(self, lane: Lane) -> bool:
        """Take a message of a lane into account; return whether the next commit comes sooner."""
        before_s = self._pause_s
        self._pause_s = min(before_s, MOST_WAIT_S.get(lane, before_s))
        return self._pause_s < before_s

    def left_s(self) -> float:
        """Return the time until the next commit."""
        return self._began_at_s + self._pause_s - self._clock.monotonic_s()

    def begin(self, *, takes_all: bool) -> None:
        """Say that a commit begins.

        Args:
            takes_all: Whether nothing is left for the next one.
        """
        self._began_at_s = self._clock.monotonic_s()
        if takes_all:
            self._pause_s = self._group_s
