"""What every sink promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from edgehaul.subscriber.client import ReceivedMessage


class StoredRun(msgspec.Struct, frozen=True):
    """Sequences of one device and epoch that are stored, ``first`` to ``last`` inclusive."""

    source: str
    epoch: str
    first: int
    last: int


class DeclaredGap(StoredRun, frozen=True):
    """Sequences that the device has declared lost, ``first`` to ``last`` inclusive."""


class Sink(Protocol):
    """A durable store that can be written the same message twice without harm.

    A receipt is sent to the device for what ``write`` has returned from, so it must not
    return before everything is on the disk.
    """

    def write(self, batch: Sequence[ReceivedMessage]) -> int:
        """Store a batch, all or nothing; return how many of it were not there before.

        Raises:
            DeliveryError: Nothing of it was stored.
        """
        ...

    def stored(self) -> Iterator[StoredRun]:
        """Yield what earlier runs have stored, and as `DeclaredGap` what they saw declared."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...
