from __future__ import annotations

import pytest

from edgehaul.geometry import Box, Line, Point
from edgehaul.values import Detection, Track
from edgehaul_agent.events.lines import LineCounter

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
