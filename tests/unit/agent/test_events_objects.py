"""Objects left and removed."""

from __future__ import annotations

import random

import pytest

from edgehaul.config.zones import ZoneConfig
from edgehaul.messages.zone_events import ObjectEvent
from tests.fakes.walks import Place, Street, Walk, square, stream

HERE, ASIDE, AWAY = (150.0, 150.0), (170.0, 150.0), (20.0, 20.0)
ZONE = square(labels=("bag",), left_after_s=3, removed_after_s=2, settled_after_s=6)
LABELS = {1: "bag", 2: "bag", 3: "person"}


def told(
    walks: dict[int, Walk], frames: int, zone: ZoneConfig = ZONE, keep_frames: int = 5
) -> list[tuple[float, str, int, float]]:
    events = Street(stream(zone), keep_frames=keep_frames).run(walks, frames, LABELS)
    return [(s, e.phase, e.track_id, e.stood_s) for s, e in events if isinstance(e, ObjectEvent)]


def stay(*spans: tuple[int, int, Place]) -> Walk:
    """Return a walk: at these places from one frame up to another, unseen between them."""
    return lambda frame: next((p for first, last, p in spans if first <= frame < last), None)


@pytest.mark.parametrize(
    ("walks", "expected"),
    [
        pytest.param({1: stay((10, 999, HERE))}, [(4.1, "left", 1, 3.1)], id="left"),
        pytest.param({1: stay((0, 28, HERE), (28, 60, AWAY))}, [], id="taken-along-in-time"),
        pytest.param({3: stay((0, 99, HERE))}, [], id="a-person-is-no-bag"),
        pytest.param({1: stay((0, 99, AWAY))}, [], id="stands-outside-of-the-zone"),
        pytest.param(
            {1: stay((0, 80, HERE))},
            [(3.1, "left", 1, 3.1), (10.0, "removed", 1, 7.9)],
            id="removed",
        ),
        pytest.param({1: stay((0, 50, HERE))}, [(3.1, "left", 1, 3.1)], id="was-no-part-of-it"),
        pytest.param(
            {1: stay((0, 80, HERE), (80, 120, AWAY))},
            [(3.1, "left", 1, 3.1), (10.0, "removed", 1, 7.9)],
            id="removed-and-seen-on-its-way",
        ),
        pytest.param(
            {1: stay((0, 80, HERE), (95, 999, HERE))},
            [(3.1, "left", 1, 3.1)],
            id="missed-for-less-than-two-seconds",
        ),
        pytest.param(
            {1: stay((0, 80, HERE)), 2: stay((90, 999, HERE))},
            [(3.1, "left", 1, 3.1)],
            id="lost-and-found-as-another",
        ),
        pytest.param(
            {1: stay((0, 20, HERE)), 2: stay((30, 55, HERE))},
            [(3.1, "left", 2, 3.1)],
            id="stands-on-through-a-broken-track",
        ),
        pytest.param(
            {1: stay((0, 80, HERE), (120, 999, HERE)), 3: stay((80, 120, ASIDE))},
            [(3.1, "left", 1, 3.1)],
            id="hidden-by-a-person-and-still-there",
        ),
        pytest.param(
            {1: stay((0, 80, HERE)), 3: stay((80, 120, ASIDE))},
            [(3.1, "left", 1, 3.1), (14.0, "removed", 1, 7.9)],
            id="taken-behind-a-person",
        ),
    ],
)
def test_left_and_removed(
    walks: dict[int, Walk], expected: list[tuple[float, str, int, float]]
) -> None:
    found = [(round(s, 3), *rest) for s, *rest in told(walks, 200)]
    assert found == expected


def test_the_noise_of_a_box_is_no_movement_and_a_slow_walk_is() -> None:
    chance = random.Random(3)
    noisy = lambda _: (150 + chance.gauss(0, 2), 150 + chance.gauss(0, 2))  # noqa: E731 - a walk
    assert [phase for _, phase, _, _ in told({1: noisy}, 100)] == ["left"]
    assert told({1: lambda frame: (105 + 0.5 * frame, 150)}, 180) == []


def test_an_object_pushed_aside_is_not_removed() -> None:
    walk = stay((0, 80, HERE), (80, 250, (162.0, 150.0)))
    assert [(p, i) for _, p, i, _ in told({1: walk}, 250)] == [("left", 1), ("left", 1)]


def test_one_of_both_may_be_asked_for_alone() -> None:
    walk = {1: stay((0, 80, HERE))}
    assert [p for _, p, _, _ in told(walk, 200, square(removed_after_s=2, settled_after_s=6))] == [
        "removed"
    ]
    assert [p for _, p, _, _ in told(walk, 900, square(left_after_s=2))] == ["left"]


def test_many_objects_come_and_go_and_each_is_told() -> None:
    """Bags at places of their own, each with its times: left at 3.1 s, removed 2 s after."""
    chance = random.Random(8)
    walks: dict[int, Walk] = {}
    expected = []
    for number in range(6):
        first, last = chance.randint(0, 40), chance.randint(60, 200)
        place = (130.0 + 100 * (number % 3), 130.0 + 100 * (number // 3))
        walks[10 + number] = stay((first, last, place))
        stood = last - first - 1
        if stood > 30:
            expected.append((first + 31, "left", 10 + number))
        if stood >= 60:
            expected.append((last + 19, "removed", 10 + number))
    zone = square(side=300, left_after_s=3.05, removed_after_s=1.95, settled_after_s=5.95)
    events = Street(stream(zone)).run(walks, 300)
    found = [(round(s * 10), e.phase, e.track_id) for s, e in events if isinstance(e, ObjectEvent)]
    assert sorted(found) == sorted(expected)
