"""The bounded queue of messages that wait for the disk."""

from __future__ import annotations

from collections import deque

from edgehaul_agent.delivery.store import Draft

_MOST_BYTES = 8 * 1024 * 1024


class DraftQueue:
    """Messages in the order in which they came, bounded in number and bytes; not thread-safe.

    Args:
        most: Most messages.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._drafts: deque[Draft] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._drafts)

    @property
    def has_room(self) -> bool:
        """Whether another one may come."""
        return len(self._drafts) < self._most and self._bytes < _MOST_BYTES

    def put(self, draft: Draft) -> None:
        """Add a message at the end."""
        self._drafts.append(draft)
        self._bytes += len(draft.data)

    def take(self, most: int) -> list[Draft]:
        """Take up to so many from the front."""
        taken = [self._drafts.popleft() for _ in range(min(len(self._drafts), most))]
        self._bytes -= sum(len(draft.data) for draft in taken)
        return taken
