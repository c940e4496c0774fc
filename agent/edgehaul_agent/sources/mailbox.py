"""Handing frames from the thread that decodes them to the one that runs the model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Generic, Literal, TypeVar

T = TypeVar("T")
Policy = Literal["every", "latest"]


class Mailbox(Generic[T]):
    """A bounded hand-over between one producer and one consumer.

    It holds one item: enough to overlap decoding with the model, and no queue in which
    frames grow old. ``every`` makes the producer wait; ``latest`` replaces the item and counts it.
    """

    def __init__(self, policy: Policy) -> None:
        self.dropped = 0
        self._policy = policy
        self._item: T | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._abandoned = False

    def wait_for_room(self) -> bool:
        """Wait until an item may be put; return False when nobody takes any more."""
        with self._changed:
            if self._policy == "every":
                self._changed.wait_for(lambda: self._abandoned or self._item is None)
            return not self._abandoned

    def put(self, item: T) -> None:
        """Hand over an item; under ``every`` only after :meth:`wait_for_room`."""
        with self._changed:
            if self._item is not None:
                self.dropped += 1
            self._item = item
            self._changed.notify_all()

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
                self._changed.wait_for(lambda: self._item is not None or self._closed)
                if self._item is None:
                    return
                item, self._item = self._item, None
                self._changed.notify_all()
            yield item
