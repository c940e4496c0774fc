"""Streams that want more than there is get equal shares of the workers."""

import heapq
from collections.abc import Callable

from edgehaul_agent.pipeline.shares import Shares

FRAME_S, TURN_S = 0.040, 0.009
STREAMS, WORKERS, LASTS_S = 16, 2, 120.0
FAIR_S = TURN_S * STREAMS / WORKERS


def played(may_take: Callable[[Shares, int, float], bool]) -> list[int]:
    """Return how many frames of each of sixteen cameras two workers got to see.

    The cameras' clocks are as they are: none comes nearer to another's. A frame is let in after
    the fair interval, or where a worker is free and ``may_take`` agrees.
    """
    shares = Shares()
    for stream in range(STREAMS):
        shares.join(stream)
    free_at_s = [0.0] * WORKERS
    last_s = [-1.0] * STREAMS
    counts = [0] * STREAMS
    arrivals = [(0.0007 * stream * stream % FRAME_S, stream) for stream in range(STREAMS)]
    heapq.heapify(arrivals)
    while arrivals[0][0] < LASTS_S:
        now_s, stream = heapq.heappop(arrivals)
        heapq.heappush(arrivals, (now_s + FRAME_S, stream))
        is_due = now_s - last_s[stream] >= FAIR_S
        if is_due or (min(free_at_s) <= now_s and may_take(shares, stream, now_s)):
            heapq.heapreplace(free_at_s, max(free_at_s[0], now_s) + TURN_S)
            last_s[stream] = now_s
            counts[stream] += 1
            shares.let_in(stream)
        else:
            shares.refuse(stream, now_s)
    return counts


def test_a_free_worker_is_shared_fairly_whatever_the_cameras_clocks() -> None:
    greedy = played(lambda _shares, _stream, _now_s: True)
    shared = played(
        lambda shares, stream, now_s: shares.may_take(stream, since_s=now_s - 2 * FAIR_S)
    )
    assert min(greedy) / max(greedy) < 0.7  # what shares are good for
    assert min(shared) / max(shared) > 0.85
    assert sum(shared) >= 0.95 * sum(greedy)


def test_a_stream_that_gives_nothing_any_more_holds_up_nobody() -> None:
    shares = Shares()
    for stream in ("gone", "busy"):
        shares.join(stream)
    shares.refuse("gone", now_s=0.0)
    for _ in range(5):
        shares.let_in("busy")
    assert not shares.may_take("busy", since_s=-1.0)
    assert shares.may_take("busy", since_s=0.5)
    shares.leave("gone")
    assert shares.may_take("busy", since_s=-1.0)


def test_a_stream_that_comes_back_takes_no_more_than_its_share() -> None:
    """At night it wanted nothing; in the morning the others do not wait until it has caught up."""
    shares = Shares()
    for stream in ("asleep", "awake"):
        shares.join(stream)
    for _ in range(1000):
        shares.let_in("awake")
    shares.let_in("asleep")
    shares.refuse("asleep", now_s=1.0)
    assert shares.may_take("awake", since_s=0.0)


def test_a_stream_that_left_or_never_came_is_no_matter() -> None:
    shares = Shares()
    shares.let_in("stranger")
    shares.refuse("stranger", now_s=1.0)
    assert shares.may_take("stranger", since_s=0.0)
    assert len(shares) == 0
