"""The tracker on detections of real pedestrians who walk in front of each other (TUD-Campus)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul_agent.tracking.tracker import Tracker, TrackerSettings

Numbered = dict[int, list[tuple[int, Box]]]


def read(path: Path) -> Numbered:
    """Read a MOTChallenge file: frame, identity, x, y, width, height, ..."""
    frames: Numbered = defaultdict(list)
    for line in path.read_text().splitlines():
        frame, identity, *box = (float(value) for value in line.split(",")[:6])
        frames[int(frame)].append((int(identity), Box.from_xywh(*box)))
    return frames


def track(detections: Numbered, last_frame: int) -> Numbered:
    tracker = Tracker(TrackerSettings(certain_score=0.5))
    tracked: Numbered = defaultdict(list)
    for frame in range(1, last_frame + 1):
        found = [Detection(box, 0, "person", 0.9) for _, box in detections.get(frame, [])]
        result = tracker.update(found, frame=frame, captured_at_s=frame / 25, width=640, height=480)
        for detection, track_id in zip(found, result.track_ids, strict=True):
            if track_id is not None:
                tracked[frame].append((track_id, detection.box))
    return tracked


def judge(truth: Numbered, tracked: Numbered) -> tuple[int, int]:
    """Return the matched boxes and the identity switches (CLEAR MOT, IoU 0.5)."""
    matched = switches = 0
    last: dict[int, int] = {}
    for frame, people in truth.items():
        pairs = sorted(
            (last.get(person) != track_id, -box.iou(found), person, track_id)
            for person, box in people
            for track_id, found in tracked.get(frame, [])
            if box.iou(found) >= 0.5
        )
        seen: set[int] = set()
        used: set[int] = set()
        for _, _, person, track_id in pairs:
            if person in seen or track_id in used:
                continue
            seen.add(person)
            used.add(track_id)
            matched += 1
            switches += last.get(person, track_id) != track_id
            last[person] = track_id
    return matched, switches


@pytest.mark.shared_data
def test_it_switches_less_than_the_tracker_that_came_with_the_detections(
    shared_data: Path,
) -> None:
    folder = shared_data / "tracking/TUD-Campus"
    truth, detections = read(folder / "gt.txt"), read(folder / "test.txt")
    assert judge(truth, detections) == (209, 7)
    matched, switches = judge(truth, track(detections, max(truth)))
    assert matched == 209
    assert switches <= 4
