"""The tracker on detections of real pedestrians who walk in front of each other (TUD-Campus)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings
from tests.fakes.mot import Numbered, judge, read_mot


def track(detections: Numbered, last_frame: int) -> Numbered:
    tracker = Tracker(TrackerSettings(certain_score=0.5))
    tracked: dict[int, list[tuple[int, Box]]] = defaultdict(list)
    for frame in range(1, last_frame + 1):
        found = [Detection(box, 0, "person", 0.9) for _, box in detections.get(frame, [])]
        result = tracker.update(found, frame=frame, captured_at_s=frame / 25, width=640, height=480)
        for detection, track_id in zip(found, result.track_ids, strict=True):
            if track_id is not None:
                tracked[frame].append((track_id, detection.box))
    return tracked


@pytest.mark.shared_data
def test_it_does_better_than_the_tracker_that_came_with_the_detections(shared_data: Path) -> None:
    folder = shared_data / "tracking/TUD-Campus"
    truth, detections = read_mot(folder / "gt.txt"), read_mot(folder / "test.txt")
    theirs = judge(truth, detections)
    # What py-motmetrics makes of the same files.
    assert (round(theirs.mota, 3), round(theirs.idf1, 3), theirs.switches) == (0.526, 0.558, 7)
    ours = judge(truth, track(detections, max(truth)))
    assert ours.matched == theirs.matched == 209
    assert ours.switches <= 4
    assert ours.mota > theirs.mota
    assert ours.idf1 > theirs.idf1


def numbered(*frames: dict[int, float]) -> Numbered:
    """Return frames of boxes of 10 pixels, by identity and left edge."""
    return {
        number: [(identity, Box(x, 0, x + 10, 10)) for identity, x in frame.items()]
        for number, frame in enumerate(frames)
    }


@pytest.mark.parametrize(
    ("given", "mota", "idf1", "switches"),
    [
        pytest.param([{7: 0}, {7: 1}, {7: 2}, {7: 3}], 1.0, 1.0, 0, id="perfect"),
        pytest.param([{7: 0}, {7: 1}, {8: 2}, {8: 3}], 0.75, 0.5, 1, id="switch-half-way"),
        pytest.param([{7: 0}, {}, {}, {8: 3}], 0.25, 2 / 6, 1, id="switch-over-a-gap"),
        pytest.param([{7: 0, 9: 50}, {7: 1}, {7: 2}, {7: 3}], 0.75, 8 / 9, 0, id="false-box"),
        pytest.param([{7: 0}, {7: 1, 8: 1}, {8: 2, 7: 3}, {7: 3}], 0.5, 8 / 10, 0, id="twin"),
        pytest.param([{7: 90}, {}, {}, {}], -0.25, 0.0, 0, id="nothing-right"),
        pytest.param([{}, {}, {}, {}], 0.0, 0.0, 0, id="nothing-at-all"),
    ],
)
def test_figures_of_small_cases(
    given: list[dict[int, float]], mota: float, idf1: float, switches: int
) -> None:
    judged = judge(numbered({1: 0}, {1: 1}, {1: 2}, {1: 3}), numbered(*given))
    assert judged.mota == pytest.approx(mota)
    assert judged.idf1 == pytest.approx(idf1)
    assert judged.switches == switches
