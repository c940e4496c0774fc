"""Occupancy, crowds, queues and docks: what is told of the visits of a zone, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.zones import ZoneConfig
from edgehaul.messages.zone_events import DockEvent, OccupancyEvent, QueueEvent
from edgehaul_agent.events.settled import Settled, StreamTime
from tests.fakes.walks import Place, Street, Walk, square, steps, stream

OUTSIDE = (50.0, 150.0)
TRUCKS = dict.fromkeys(range(10), "truck")


def at(
    first: int, last: int, place: Place = (150.0, 150.0), leaves_to: Place | None = None
) -> Walk:
    """Return a walk: in the zone from one frame up to another, then somewhere else or unseen."""
    return lambda frame: None if frame < first else place if frame < last else leaves_to


def occupancy(
    zone: ZoneConfig, walks: dict[int, Walk], frames: int
) -> list[tuple[float, int, bool]]:
    events = Street(stream(zone)).run(walks, frames)
    return [(s, e.count, e.overcrowded) for s, e in events if isinstance(e, OccupancyEvent)]


def test_a_number_is_told_when_it_has_held() -> None:
    walks = {1: at(5, 60, leaves_to=OUTSIDE), 2: at(30, 90, leaves_to=OUTSIDE)}
    assert occupancy(square(settle_s=1), walks, 120) == [
        (1.5, 1, False),
        (4.0, 2, False),
        (7.0, 1, False),
        (10.0, 0, False),
    ]


def test_a_group_is_told_once_and_who_passes_by_not_at_all() -> None:
    group = {i: at(10 + 2 * i, 60, leaves_to=OUTSIDE) for i in range(4)}
    assert [n for _, n, _ in occupancy(square(settle_s=1), group, 60)] == [4]
    passing = {i: at(20 * i, 20 * i + 8, leaves_to=OUTSIDE) for i in range(4)}
    assert occupancy(square(settle_s=1), passing, 80) == []


def test_a_track_that_breaks_does_not_empty_the_zone() -> None:
    # Lost at 3.0 s, given up at 3.5 s, found as another at 3.8 s.
    assert occupancy(square(settle_s=1), {1: at(0, 30), 2: at(38, 80)}, 80) == [(1.0, 1, False)]


def test_numbers_by_label() -> None:
    street = Street(stream(square(settle_s=0)))
    street.run({1: at(0, 9), 2: at(0, 9), 3: at(0, 9)}, 5, {1: "van", 2: "van", 3: "person"})
    (event,) = [e for _, e in street.events if isinstance(e, OccupancyEvent)]
    assert (event.count, event.labels) == (3, {"van": 2, "person": 1})


def test_too_many_for_too_long() -> None:
    zone = square(settle_s=0.5, max_objects=1, overcrowded_after_s=2)
    walks = {1: at(0, 99), 2: at(10, 60, leaves_to=OUTSIDE)}
    assert occupancy(zone, walks, 80) == [
        (0.5, 1, False),
        (1.5, 2, False),
        (3.1, 2, True),
        (6.5, 1, False),
    ]


def test_a_crowd_that_breaks_up_in_time_or_thins_for_a_moment() -> None:
    zone = square(settle_s=0.5, max_objects=1, overcrowded_after_s=2)
    short = {1: at(0, 99), 2: at(10, 28, leaves_to=OUTSIDE)}
    assert not any(crowded for _, _, crowded in occupancy(zone, short, 60))
    thinned = {1: at(0, 99), 2: at(10, 20, leaves_to=OUTSIDE), 3: at(23, 99)}
    assert (3.1, 2, True) in occupancy(zone, thinned, 60)


def queue(walks: dict[int, Walk], frames: int, **keys: float) -> list[tuple[float, QueueEvent]]:
    events = Street(stream(square(kind="queue", **keys))).run(walks, frames)
    return [(at_s, event) for at_s, event in events if isinstance(event, QueueEvent)]


def test_a_queue_grows_and_is_served() -> None:
    walks = {i: at(30 * i, 120 + 30 * i, leaves_to=OUTSIDE) for i in range(3)}
    told = queue(walks, 210, settle_s=2)
    # Waiting begins to count after 2 s, and the length must hold for as long again.
    assert [(at_s, e.length) for at_s, e in told] == [
        (4.0, 1),
        (7.0, 2),
        (10.0, 3),
        (14.0, 2),
        (17.0, 1),
        (20.0, 0),
    ]
    assert [e.max_wait_s for _, e in told[:3]] == [4.0, 7.0, 10.0]
    assert [e.mean_wait_s for _, e in told[:3]] == [4.0, 5.5, 7.0]


def test_who_walks_through_a_queue_does_not_wait() -> None:
    passing = {i: at(5 * i, 5 * i + 9, leaves_to=OUTSIDE) for i in range(10)}
    assert queue(passing, 60, settle_s=1) == []


def test_a_queue_may_be_too_long() -> None:
    walks = {1: at(0, 99), 2: at(0, 99)}
    told = queue(walks, 60, settle_s=1, max_objects=1, overcrowded_after_s=1)
    assert [(at_s, e.length, e.overcrowded) for at_s, e in told] == [
        (2.0, 2, False),
        (2.1, 2, True),
    ]


def dock(walks: dict[int, Walk], frames: int, settle_s: float = 2) -> list[tuple[float, DockEvent]]:
    zone = square("dock 3", kind="dock", labels=("truck",), settle_s=settle_s)
    events = Street(stream(zone)).run(walks, frames, TRUCKS | {9: "person"})
    return [(at_s, event) for at_s, event in events if isinstance(event, DockEvent)]


def test_a_dock_tells_who_came_and_how_long_it_stayed() -> None:
    walks = {7: at(50, 150, leaves_to=OUTSIDE), 9: at(0, 250)}
    assert [(t, e.state, e.track_id, e.duration_s) for t, e in dock(walks, 250)] == [
        (2.0, "free", None, 0.0),
        (7.0, "occupied", 7, 5.0),
        (17.0, "free", 7, 10.0),
    ]


def test_a_dock_ignores_who_passes_and_a_track_that_breaks() -> None:
    walks = {1: at(30, 45, leaves_to=OUTSIDE), 2: at(60, 100), 3: at(112, 200)}
    told = dock(walks, 200)
    assert [(t, e.state) for t, e in told] == [(2.0, "free"), (8.0, "occupied")]
    assert told[1][1].track_id == 2


def test_a_vehicle_that_stands_there_at_first_is_told() -> None:
    told = dock({1: at(0, 100, leaves_to=OUTSIDE)}, 150)
    assert [(e.state, e.duration_s) for _, e in told] == [("occupied", 0.0), ("free", 10.0)]


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3)), max_size=60), st.floats(0.1, 4))
def test_a_settled_value_changes_only_to_what_has_held(
    steps_taken: list[tuple[int, float]], hold_s: float
) -> None:
    settled, now_s = Settled(0, hold_s=hold_s), 0.0
    history: list[tuple[float, int]] = [(0.0, 0)]
    for value, step_s in steps_taken:
        now_s += step_s
        history.append((now_s, value))
        changed = settled.update(value, now_s)
        if changed:
            assert settled.value == value
            assert now_s - settled.since_s >= hold_s
            assert all(v == value for s, v in history if s > settled.since_s)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_stream_time_never_runs_backwards(times_s: list[float]) -> None:
    time = StreamTime()
    now = [time.at(captured_at_s) for captured_at_s in times_s]
    assert now[0] == 0
    assert now == sorted(now)


def test_stream_time_goes_on_after_a_clock_is_set_back() -> None:
    time = StreamTime()
    assert [time.at(s) for s in (100, 101, 40, 42, 42)] == [0, 1, 1, 3, 3]


@pytest.mark.parametrize("settle_s", [0.0, 0.5])
def test_nothing_is_told_of_a_zone_in_which_nothing_happens(settle_s: float) -> None:
    assert occupancy(square(settle_s=settle_s), {1: steps(OUTSIDE)}, 30) == []
