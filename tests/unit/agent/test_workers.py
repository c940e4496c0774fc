"""Streams stand in one line for the workers, and frames are refused before they are decoded."""

import threading
from collections import Counter
from itertools import pairwise

import pytest

from edgehaul.config.device import Policy
from edgehaul_agent.pipeline.handover import Handover
from edgehaul_agent.pipeline.workers import WorkerPool
from tests.fakes.streams import FakeClock


def handover(policy: Policy, clock: FakeClock, room: int = 1) -> tuple[WorkerPool, Handover[int]]:
    """Return a queue whose workers have not started: what is handed over waits."""
    pool = WorkerPool(1, clock)
    return pool, Handover(policy, pool.seat(lambda: False), clock, room)


def test_no_stream_overtakes_another() -> None:
    order: list[str] = []
    left = Counter({"a": 3, "b": 3, "c": 1})

    def turn(name: str) -> bool:
        order.append(name)
        left[name] -= 1
        return left[name] > 0

    pool = WorkerPool(1, FakeClock())
    for seat in [pool.seat(lambda name=name: turn(name)) for name in left]:
        seat.call()
        seat.call()  # twice in line would be two turns at once
    with pool:
        pass
    assert order == ["a", "b", "c", "a", "b", "a", "b"]


def test_a_stream_is_with_one_worker_at_a_time() -> None:
    turns, inside, most = 0, 0, 0
    finished = threading.Event()

    def turn() -> bool:
        nonlocal turns, inside, most
        inside += 1
        most = max(most, inside)
        turns += 1
        if turns < 200:
            seat.call()  # as a reader does that hands over the next frame meanwhile
        else:
            finished.set()
        inside -= 1
        return False

    with WorkerPool(4, FakeClock()) as pool:
        seat = pool.seat(turn)
        seat.call()
        assert finished.wait(10)
    assert most == 1


def test_every_waits_for_room_and_loses_nothing() -> None:
    taken: list[int] = []

    def turn() -> bool:
        item = queue.take()
        if item is None:
            return False
        taken.append(item)
        return queue.done()

    clock = FakeClock()
    with WorkerPool(2, clock) as pool:
        queue: Handover[int] = Handover("every", pool.seat(turn), clock)
        for number in range(200):
            assert queue.wants(last=False)
            assert queue.put(number) == []
        queue.close()
        queue.wait_empty()
    assert taken == list(range(200))
    assert queue.forgotten == 0


def test_latest_lets_in_what_a_free_worker_takes_and_refuses_the_rest_undecoded() -> None:
    _, queue = handover("latest", FakeClock())
    assert queue.wants(last=False)
    queue.put(0)
    assert [queue.wants(last=False) for _ in range(5)] == [False] * 5
    assert queue.take() == 0
    assert queue.done() is False
    assert queue.wants(last=False)


def test_latest_gives_a_stream_its_turn_only_after_a_fair_time_when_others_wait() -> None:
    clock = FakeClock()
    pool = WorkerPool(1, clock)

    def slow() -> bool:
        clock.sleep(0.1)
        return False

    crowd = [pool.seat(slow) for _ in range(3)]
    queue: Handover[int] = Handover("latest", pool.seat(slow), clock)
    with pool:
        crowd[0].call()  # the pool learns that a turn takes 0.1 s
    assert pool.fair_interval_s == pytest.approx(0.4)
    queue.put(0)
    queue.take()
    queue.done()
    crowd[1].call()
    assert pool.is_busy
    clock.sleep(0.2)
    assert not queue.wants(last=False)
    clock.sleep(0.2)
    assert queue.wants(last=False)


def test_latest_gives_a_stream_its_share_whatever_its_frames_intervals() -> None:
    """Frames come each 0.25 s, turns each 0.4 s: not one in two frames, but five in eight."""
    clock = FakeClock()
    pool = WorkerPool(1, clock)
    crowd = [pool.seat(lambda: bool(clock.sleep(0.1))) for _ in range(3)]
    queue: Handover[int] = Handover("latest", pool.seat(lambda: False), clock)
    with pool:
        crowd[0].call()
    crowd[1].call()
    assert pool.is_busy
    let_in = 0
    for _ in range(400):
        clock.sleep(0.25)
        if queue.wants(last=False):
            queue.put(0)
            queue.take()
            queue.done()
            let_in += 1
    assert let_in == pytest.approx(250, abs=2)


def test_adaptive_lets_in_at_even_intervals_even_where_a_worker_is_free() -> None:
    clock = FakeClock()
    pool = WorkerPool(1, clock)
    seat = pool.seat(lambda: bool(clock.sleep(0.1)))
    queue: Handover[int] = Handover("adaptive", seat, clock)
    with pool:
        seat.call()
    let_in = []
    for _ in range(20):
        clock.sleep(0.04)
        if queue.wants(last=False):
            queue.put(0)
            queue.take()
            queue.done()
            let_in.append(clock.passed_s)
    gaps = {round(after - before, 6) for before, after in pairwise(let_in)}
    assert gaps == {0.12}


def test_drop_oldest_keeps_the_newest_and_counts_the_forgotten() -> None:
    _, queue = handover("drop_oldest", FakeClock(), room=3)
    forgotten = []
    for number in range(5):
        assert queue.wants(last=False)
        forgotten += queue.put(number)
    assert forgotten == [0, 1]
    assert [queue.take() for _ in range(4)] == [2, 3, 4, None]
    assert queue.forgotten == 2


def test_whoever_waits_for_room_learns_that_the_queue_is_closed() -> None:
    _, queue = handover("every", FakeClock())
    queue.put(0)
    reader = threading.Thread(target=lambda: queue.wants(last=False))
    reader.start()
    queue.abandon()
    reader.join(10)
    assert not reader.is_alive()
    assert not queue.open
    assert queue.put(1) == [1]
    queue.wait_empty()


def test_a_turn_that_does_not_end_is_given_up_and_another_thread_works_on() -> None:
    clock = FakeClock()
    held, entered, done = threading.Event(), threading.Event(), threading.Event()

    def hang() -> bool:
        entered.set()
        held.wait(10)
        return True

    with WorkerPool(1, clock) as pool:
        bad, good = pool.seat(hang), pool.seat(lambda: bool(done.set()))
        bad.call()
        assert entered.wait(10)
        good.call()
        clock.sleep(5)
        assert (bad.turn_s(), good.turn_s()) == (5, 0)
        bad.give_up()
        assert done.wait(10)
        assert pool.is_whole()
        assert bad.holds_thread()
        assert bad.turn_s() == 0
        bad.give_up()
        bad.leave()
        bad.call()  # nobody listens to it any more
        held.set()
        assert bad.thread is not None
        bad.thread.join(10)
        assert not bad.holds_thread()
        assert pool.is_whole()
    assert len(pool.shares) == 1


def test_a_seat_that_is_given_up_at_rest_holds_nobody() -> None:
    with WorkerPool(1, FakeClock()) as pool:
        ran = threading.Event()
        seat = pool.seat(lambda: bool(ran.set()))
        seat.call()
        assert ran.wait(10)
    seat.give_up()
    assert not seat.holds_thread()
    assert len(pool.shares) == 0


def test_nobody_waits_for_an_item_of_a_stream_that_was_given_up() -> None:
    _, queue = handover("every", FakeClock())
    queue.put(0)
    assert queue.take() == 0
    queue.give_up()
    queue.wait_empty()
    assert queue.put(1) == [1]
