"""Which sequences of each device were received, declared lost, or are missing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec


class SequenceSet:
    """A set of positive whole numbers, kept as runs: what has no holes takes no room."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]

    def __len__(self) -> int:
        return sum(end - start + 1 for start, end in self.runs())

    @property
    def highest(self) -> int:
        """The largest number; 0 where the set is empty."""
        return self._ends[-1] if self._ends else 0

    @property
    def lowest(self) -> int:
        """The smallest number; 0 where the set is empty."""
        return self._starts[0] if self._starts else 0

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield the runs without holes in order, as (first, last)."""
        return zip(self._starts, self._ends, strict=True)

    def add(self, first: int, last: int) -> None:
        """Add all numbers from ``first`` to ``last`` inclusive; an empty range adds none."""
        if last < first:
            return
        left = bisect_left(self._ends, first - 1)
        right = bisect_right(self._starts, last + 1)
        if left < right:
            first = min(first, self._starts[left])
            last = max(last, self._ends[right - 1])
        self._starts[left:right] = [first]
        self._ends[left:right] = [last]


class SequenceTotals(msgspec.Struct, frozen=True):
    """The account of one device and epoch.

    ``received + declared_lost + missing == highest - earlier`` always holds.

    Attributes:
        device: ``source`` of the device.
        epoch: The spool's epoch.
        received: Different messages received.
        duplicates: Messages received once more.
        declared_lost: Messages not received that the device has declared lost.
        missing: Messages since then neither received nor declared: still under way, or lost.
        earlier: Messages that the device had delivered before this ledger took part.
        highest: Highest sequence known of.
    """

    device: str
    epoch: str
    received: int
    duplicates: int
    declared_lost: int
    missing: int
    earlier: int
    highest: int


class _Account:
    def __init__(self) -> None:
        self.received = SequenceSet()
        self.declared = SequenceSet()
        self.settled = SequenceSet()
        self.duplicates = 0
        self.released = 0
        """What lies up to here the device does not hold any more."""
        self.joined_at: int | None = None
        """What lies up to here was not meant for us; none while it is only an estimate."""

    def record(self, sequence: int) -> bool:
        if sequence in self.received:
            self.duplicates += 1
            return False
        self.received.add(sequence, sequence)
        self.settled.add(sequence, sequence)
        return True

    def join(self) -> int:
        """Return up to where messages were delivered before the first that we could get."""
        if self.joined_at is not None:
            return self.joined_at
        return self.received.lowest - 1 if self.received else self.released

    def totals(self, device: str, epoch: str) -> SequenceTotals:
        accounted = SequenceSet()
        for numbers in (self.received, self.declared):
            for first, last in numbers.runs():
                accounted.add(first, last)
        joined_at = self.join()
        earlier = joined_at - _count_up_to(accounted, joined_at)
        highest = max(accounted.highest, self.settled.highest)
        return SequenceTotals(
            device=device,
            epoch=epoch,
            received=len(self.received),
            duplicates=self.duplicates,
            declared_lost=len(accounted) - len(self.received),
            missing=highest - earlier - len(accounted),
            earlier=earlier,
            highest=highest,
        )


def _count_up_to(numbers: SequenceSet, limit: int) -> int:
    return sum(max(0, min(last, limit) - first + 1) for first, last in numbers.runs())


class SequenceLedger:
    """Keeps account by device and epoch; messages may come in any order, any number of times."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], _Account] = {}

    def record(self, device: str, epoch: str, sequence: int) -> bool:
        """Note a received message; return whether it is new."""
        return self._account(device, epoch).record(sequence)

    def restore(self, device: str, epoch: str, first: int, last: int) -> None:
        """Note messages that were stored in an earlier run."""
        account = self._account(device, epoch)
        account.received.add(first, last)
        account.settled.add(first, last)
        account.joined_at = account.received.lowest - 1

    def declare_gap(self, device: str, epoch: str, first: int, last: int) -> None:
        """Note that the device has declared ``first`` to ``last`` inclusive lost."""
        account = self._account(device, epoch)
        account.declared.add(first, last)
        account.settled.add(first, last)

    def device_holds_from(
        self, device: str, epoch: str, first_pending: int, *, is_live: bool
    ) -> None:
        """Note that the device holds nothing below ``first_pending`` any more.

        Nothing below will ever come, whoever's receipts the device goes by. What we have not
        received of it was delivered ``earlier`` to others as long as we have no part in the
        device's account: nothing stored, nothing received, and not yet told by the device
        where it stands. Afterwards it is ``missing``.

        Args:
            device: ``source`` of the device.
            epoch: The spool's epoch.
            first_pending: Lowest sequence that the device still holds.
            is_live: Whether the device has said so just now. What the broker has kept may be
                as old as the connection: more may have been delivered since.
        """
        account = self._account(device, epoch)
        account.released = max(account.released, first_pending - 1)
        account.settled.add(1, first_pending - 1)
        if is_live and account.joined_at is None:
            # Live messages overtake the backlog: the lowest received may not be the first.
            account.joined_at = min(account.join(), account.released)

    def contiguous(self, device: str, epoch: str) -> int:
        """Return the highest sequence up to which nothing can still come; 0 for none.

        All up to there was received, declared lost, or let go of by the device before.
        """
        account = self._accounts.get((device, epoch))
        for first, last in account.settled.runs() if account else ():
            return last if first <= 1 else 0
        return 0

    def totals(self) -> tuple[SequenceTotals, ...]:
        """Return the account of every device and epoch, in the order first heard of."""
        return tuple(account.totals(*key) for key, account in self._accounts.items())

    def _account(self, device: str, epoch: str) -> _Account:
        return self._accounts.setdefault((device, epoch), _Account())
