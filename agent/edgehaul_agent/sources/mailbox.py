"""Handing frames from the thread that decodes them to the one that runs the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Policy = Literal["every", "latest"]

EVERY_CAPACITY = 3
"""Frames that may wait under ``every``: enough to overlap decoding with the model."""


class Mailbox(Generic[T]):
    """A bounded hand-over between one producer and one consumer.

    ``every`` makes the producer wait; ``latest`` keeps the newest item alone and counts those
    it replaces.
    """

    def __init__(self, policy: Policy) -> None:
        self.dropped = 0
        self._policy = policy
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._abandoned = False

    def put(self, item: T) -> bool:
        """Hand over an item; return False when nobody takes any more."""
        with self._changed:
            if self._policy == "latest":
                self.dropped += len(self._items)
                self._items.clear()
            else:
                self._changed.wait_for(lambda: self._abandoned or len(self._items) < EVERY_CAPACITY)
            if self._abandoned:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Say that no more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Say that no more will be taken."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield the items until the producer closes."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
