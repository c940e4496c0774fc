"""The ledger against the simplest possible model of it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edgehaul.subscriber.ordering import SequenceLedger, SequenceSet

RANGES = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 12)), max_size=40)


@given(RANGES)
def test_the_set_holds_what_was_added_in_runs_without_touching_neighbours(
    ranges: list[tuple[int, int]],
) -> None:
    numbers, model = SequenceSet(), set()
    for first, length in ranges:
        numbers.add(first, first + length - 1)
        model.update(range(first, first + length))
    runs = list(numbers.runs())
    assert {number for first, last in runs for number in range(first, last + 1)} == model
    assert len(numbers) == len(model)
    assert numbers.highest == max(model, default=0)
    assert numbers.lowest == min(model, default=0)
    assert all(number in numbers for number in model)
    assert 0 not in numbers
    assert 99 not in numbers
    for (_, before), (after, _) in itertools.pairwise(runs):
        assert after > before + 1


@given(
    produced=st.integers(1, 50),
    lost=st.sets(st.integers(1, 50), max_size=20),
    order=st.permutations(range(1, 51)),
    repeats=st.lists(st.integers(1, 50), max_size=30),
    cut=st.integers(0, 50),
)
def test_received_and_declared_and_missing_are_all_that_was_produced(
    produced: int, lost: set[int], order: list[int], repeats: list[int], cut: int
) -> None:
    ledger = SequenceLedger()
    ledger.device_holds_from("d", "e", 1, is_live=True)
    arrived: set[int] = set()
    declared: set[int] = set()
    duplicates = 0
    for number in [n for n in order if n <= produced][:cut] + [n for n in repeats if n <= produced]:
        if number in lost:
            ledger.declare_gap("d", "e", number, number)
            declared.add(number)
        else:
            assert ledger.record("d", "e", number) == (number not in arrived)
            duplicates += number in arrived
            arrived.add(number)
    known = arrived | declared
    expected = 0
    while expected + 1 in known:
        expected += 1
    assert ledger.contiguous("d", "e") == expected
    (totals,) = ledger.totals()
    assert totals.received == len(arrived)
    assert totals.duplicates == duplicates
    assert totals.highest == max(known, default=0)
    assert totals.received + totals.declared_lost + totals.missing == totals.highest
    assert totals.earlier == 0


def test_a_message_that_came_although_it_was_declared_lost_counts_as_received() -> None:
    ledger = SequenceLedger()
    ledger.record("d", "e", 1)
    ledger.declare_gap("d", "e", 1, 3)
    ledger.record("d", "e", 2)
    (totals,) = ledger.totals()
    assert (totals.received, totals.declared_lost, totals.missing) == (2, 1, 0)
    assert ledger.contiguous("d", "e") == 3


def test_epochs_and_devices_have_accounts_of_their_own() -> None:
    ledger = SequenceLedger()
    ledger.record("d", "old", 1)
    ledger.record("d", "new", 2)
    ledger.record("other", "old", 1)
    assert ledger.contiguous("d", "old") == 1
    assert ledger.contiguous("d", "new") == 0
    assert ledger.contiguous("unknown", "old") == 0
    assert [(t.device, t.epoch) for t in ledger.totals()] == [
        ("d", "old"),
        ("d", "new"),
        ("other", "old"),
    ]


@given(
    stored=st.sets(st.integers(1, 60), max_size=20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("receive"), st.integers(1, 60)),
            st.tuples(st.just("declare"), st.integers(1, 60)),
            st.tuples(st.just("live state"), st.integers(1, 60)),
            st.tuples(st.just("kept state"), st.integers(1, 60)),
        ),
        max_size=40,
    ),
)
def test_the_account_adds_up_whenever_a_collector_joins(
    stored: set[int], steps: list[tuple[str, int]]
) -> None:
    ledger = SequenceLedger()
    for number in sorted(stored):
        ledger.restore("d", "e", number, number)
    received, declared, settled = set(stored), set(), set(stored)
    before = ledger.contiguous("d", "e")
    for what, number in steps:
        if what == "receive":
            ledger.record("d", "e", number)
            received.add(number)
            settled.add(number)
        elif what == "declare":
            ledger.declare_gap("d", "e", number, number)
            declared.add(number)
            settled.add(number)
        else:
            ledger.device_holds_from("d", "e", number, is_live=what == "live state")
            settled.update(range(1, number))
        (totals,) = ledger.totals()
        assert totals.received == len(received)
        assert totals.declared_lost == len(declared - received)
        assert totals.missing >= 0
        assert totals.earlier >= 0
        assert totals.highest == max(settled, default=0)
        assert (
            totals.received + totals.declared_lost + totals.missing
            == totals.highest - totals.earlier
        )
        if stored:
            # A hole behind the first that was stored is never explained away.
            assert totals.earlier == len(set(range(1, min(stored))) - received - declared)
        # The receipt names only what cannot come any more, and never goes back.
        acknowledged = ledger.contiguous("d", "e")
        assert acknowledged >= before
        assert set(range(1, acknowledged + 1)) <= settled
        before = acknowledged


@given(delivered=st.integers(0, 50), received=st.integers(0, 10), is_live=st.booleans())
def test_what_was_delivered_before_a_collector_without_history_came_is_not_missing(
    delivered: int, received: int, *, is_live: bool
) -> None:
    ledger = SequenceLedger()
    ledger.device_holds_from("d", "e", delivered + 1, is_live=is_live)
    for number in range(delivered + 1, delivered + received + 1):
        ledger.record("d", "e", number)
    (totals,) = ledger.totals()
    assert (totals.received, totals.missing, totals.earlier) == (received, 0, delivered)
    assert ledger.contiguous("d", "e") == delivered + received


def test_a_state_that_the_broker_kept_may_be_old() -> None:
    ledger = SequenceLedger()
    ledger.device_holds_from("d", "e", 1, is_live=False)
    ledger.record("d", "e", 101)
    assert ledger.contiguous("d", "e") == 0
    ledger.device_holds_from("d", "e", 101, is_live=True)
    assert ledger.contiguous("d", "e") == 101
    (totals,) = ledger.totals()
    assert (totals.received, totals.missing, totals.earlier) == (1, 0, 100)


def test_a_backlog_that_live_messages_overtook_is_waited_for() -> None:
    ledger = SequenceLedger()
    ledger.record("d", "e", 60)
    ledger.device_holds_from("d", "e", 21, is_live=True)
    (totals,) = ledger.totals()
    assert (totals.received, totals.missing, totals.earlier) == (1, 39, 20)


def test_what_a_device_let_go_of_without_us_stays_missing() -> None:
    ledger = SequenceLedger()
    ledger.device_holds_from("d", "e", 1, is_live=True)
    ledger.record("d", "e", 1)
    ledger.record("d", "e", 4)
    ledger.device_holds_from("d", "e", 5, is_live=True)
    assert ledger.contiguous("d", "e") == 4
    (totals,) = ledger.totals()
    assert (totals.received, totals.missing, totals.earlier) == (2, 2, 0)


def test_the_account_goes_on_where_the_store_left_it() -> None:
    ledger = SequenceLedger()
    ledger.restore("d", "e", 1, 3)
    ledger.restore("d", "e", 5, 6)
    assert not ledger.record("d", "e", 5)
    ledger.device_holds_from("d", "e", 9, is_live=False)
    (totals,) = ledger.totals()
    assert (totals.received, totals.missing, totals.earlier) == (5, 3, 0)
