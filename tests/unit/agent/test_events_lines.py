from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.geometry import Box, Line, Point
from edgehaul.values import Detection, Track
from edgehaul_agent.events.lines import REARM_PART, LineCounter

# Drawn upwards, so its right side as seen on screen is that of larger x.
UPWARDS = Line(Point(100, 300), Point(100, 0))


def track(
    x: float,
    y: float = 150,
    *,
    hits: int,
    track_id: int = 1,
    scores: dict[str, float] | None = None,
) -> Track:
    box = Box(x - 20, y - 20, x + 20, y + 20)
    detection = Detection(box, 0, "parcel", 0.9)
    return Track(track_id, detection, 0.0, float(hits), hits, scores or {"parcel": 0.9 * hits})


def count(path: list[tuple[float, float] | float], *, confirm_hits: int = 3) -> list[str]:
    """Return the directions counted for one track along a path of centres."""
    counter = LineCounter("gate", UPWARDS, confirm_hits=confirm_hits)
    words = []
    for hits, place in enumerate(path, start=1):
        x, y = place if isinstance(place, tuple) else (place, 150)
        words += [e.direction for e in counter.update([track(x, y, hits=hits)])]
    return words


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param([60, 80, 95, 105, 120], ["forward"], id="slow"),
        pytest.param([140, 120, 105, 95, 80], ["backward"], id="back"),
        pytest.param([20, 50, 80, 300], ["forward"], id="in-one-leap-over-missed-frames"),
        pytest.param([90, 110, 130], ["forward"], id="crossed-before-it-was-confirmed"),
        pytest.param([90, 110], [], id="never-confirmed"),
        pytest.param([110, 130, 150, 170], [], id="appeared-beyond"),
        pytest.param([80, 90, 100, 110], ["forward"], id="stops-on-the-line"),
        pytest.param([80, 90, 101, 99, 101, 99, 102, 120], ["forward"], id="trembles"),
        pytest.param([80, 90, 101, 99, 101, 85, 60], ["forward", "backward"], id="turns-back"),
        pytest.param([60, 80, 120, 80, 120], ["forward", "backward", "forward"], id="to-and-fro"),
        pytest.param([80, 90, (95, 290), (95, 330), (120, 330), (130, 290)], [], id="walks-round"),
        pytest.param([(80, 400), (90, 400), (110, 400), (120, 400)], [], id="beside-the-segment"),
        pytest.param([101, 99, 102, 98, 101, 130], [], id="appears-on-the-line-and-goes-its-way"),
        pytest.param([99, 101, 98, 102, 130], ["forward"], id="appears-just-before-the-line"),
        pytest.param([99, 101, 98, 101, 99], [], id="stands-on-the-line-from-the-first"),
        pytest.param([101, 99, 60], ["backward"], id="appears-just-beyond-and-goes-back"),
        pytest.param(
            [70, 75, 80, 101, (99, 280), (99, 310), (130, 310), (130, 200)],
            ["forward", "backward"],
            id="trembles-across-and-walks-round",
        ),
        pytest.param(
            [(95, 295), (103, 295), (103, 305), (95, 305), (95, 295), (103, 295), (130, 200)],
            ["forward", "forward"],
            id="circles-round-the-end-within-reach",
        ),
        pytest.param(
            [(80, 300), (120, 300), (80, 300)], [], id="through-the-end-and-back-counts-the-same"
        ),
    ],
)
def test_crossings(path: list[tuple[float, float] | float], expected: list[str]) -> None:
    assert count(path) == expected


def test_the_label_is_the_best_one_over_the_life_of_the_track() -> None:
    counter = LineCounter("gate", UPWARDS, confirm_hits=2)
    counter.update([track(80, hits=1, scores={"parcel": 0.9})])
    scores = {"parcel": 0.9, "parcel_damaged": 1.4}
    (event,) = counter.update([track(120, hits=3, scores=scores)])
    assert event.label == "parcel_damaged"
    assert event.line == "gate"
    assert event.at == Point(100, 150)
    assert event.totals == {"forward/parcel_damaged": 1}


def test_totals_grow_and_tracks_are_told_apart() -> None:
    counter = LineCounter("gate", UPWARDS, confirm_hits=1)
    for track_id in range(5):
        counter.update([track(80, hits=1, track_id=track_id)])
        counter.update([track(120, hits=2, track_id=track_id)])
    counter.update([track(80, hits=3, track_id=0)])
    assert counter.totals == {"forward/parcel": 5, "backward/parcel": 1}


def test_ended_tracks_are_forgotten() -> None:
    counter = LineCounter("gate", UPWARDS, confirm_hits=1)
    left = track(80, hits=1)
    counter.update([left])
    counter.update([], ended=[left])
    assert counter.update([track(120, hits=2)]) == []


PLACES = st.tuples(st.integers(40, 160).map(float), st.integers(-40, 340).map(float))


def net(words: list[str]) -> int:
    return words.count("forward") - words.count("backward")


@given(st.lists(PLACES, min_size=1, max_size=20))
def test_in_the_end_the_sum_is_that_of_all_steps(path: list[tuple[float, float]]) -> None:
    ends_clear = [*path, (300.0, 1000.0)]
    steps = itertools.pairwise(ends_clear)
    truth = sum(UPWARDS.crossed_by(Point(*a), Point(*b)) for a, b in steps)
    assert net(count(list(ends_clear), confirm_hits=1)) == truth


@given(st.lists(PLACES, min_size=2, max_size=20))
def test_the_way_back_is_counted_back(path: list[tuple[float, float]]) -> None:
    there = [(0.0, 1000.0), *path, (300.0, 1000.0)]
    assert net(count(list(there), confirm_hits=1)) == -net(count(there[::-1], confirm_hits=1))


@given(st.lists(st.floats(40, 160), min_size=2, max_size=30))
def test_on_a_long_line_the_directions_alternate(xs: list[float]) -> None:
    words = count(list(xs), confirm_hits=1)
    assert all(a != b for a, b in itertools.pairwise(words))


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.3, 90),
    st.floats(0, REARM_PART * 40 / 2),
    st.floats(0, 1),
    st.integers(1, 3),
)
def test_a_straight_way_across_is_counted_once_whatever_speed_stride_and_noise(
    seed: int, speed: float, noise_px: float, phase: float, confirm_hits: int
) -> None:
    noise = random.Random(seed)
    start = 93.5 - noise_px - speed * (phase + confirm_hits)
    frames = round(60 / speed) + 2 * confirm_hits + 4
    path: list[tuple[float, float] | float] = [
        start + speed * frame + noise.uniform(-noise_px, noise_px) for frame in range(frames)
    ]
    assert count(path, confirm_hits=confirm_hits) == ["forward"]


@given(st.integers(0, 2**32 - 1), st.floats(70, 130), st.booleans())
def test_who_stands_near_the_line_is_not_counted_for_noise(
    seed: int,
    x: float,
    came_from_left: bool,  # noqa: FBT001 - drawn
) -> None:
    """It is counted once at most, where it came from the other side."""
    noise = random.Random(seed)
    standing = [x + noise.uniform(-3, 3) for _ in range(200)]
    assert len(count(list(standing))) <= 1
    came: list[tuple[float, float] | float] = [40.0 if came_from_left else 160.0] * 3
    assert len(count([*came, *standing])) <= 1


def test_classes_are_counted_apart() -> None:
    counter = LineCounter("gate", UPWARDS, confirm_hits=1)
    for track_id, label in enumerate(["van", "van", "person"]):
        counter.update([track(80, hits=1, track_id=track_id, scores={label: 1.0})])
        counter.update([track(120, hits=2, track_id=track_id, scores={label: 1.0})])
    assert counter.totals == {"forward/van": 2, "forward/person": 1}
