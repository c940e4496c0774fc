from __future__ import annotations

import numpy as np
import pytest

from edgehaul.geometry import Box
from edgehaul.values import Detection
from edgehaul_agent.tracking.kalman import Motion, centers_of
from edgehaul_agent.tracking.tracker import TrackedFrame, Tracker, TrackerSettings

WIDTH, HEIGHT = 640, 480
SETTINGS = TrackerSettings(certain_score=0.5, confirm_hits=3)


def parcel(
    x: float, y: float = 200, *, size: float = 80, score: float = 0.9, label: str = "p"
) -> Detection:
    box = Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2).clipped(WIDTH, HEIGHT)
    return Detection(box, 0, label, score)


class Scene:
    """Feeds a tracker frame by frame."""

    def __init__(self, settings: TrackerSettings = SETTINGS) -> None:
        self.tracker = Tracker(settings)
        self.frame = -1

    def step(self, *detections: Detection, skip: int = 0) -> TrackedFrame:
        self.frame += 1 + skip
        return self.tracker.update(
            detections,
            frame=self.frame,
            captured_at_s=self.frame / 25,
            width=WIDTH,
            height=HEIGHT,
        )


@pytest.mark.parametrize("step_px", [2, 10, 20, 30, 40])
def test_a_belt_keeps_its_identities_at_any_speed(step_px: float) -> None:
    scene = Scene()
    ids: dict[int, set[int | None]] = {}
    for frame in range(100):
        inside = {
            number: x
            for number in range(30)
            if 40 <= (x := 60 + frame * step_px - number * 130) <= WIDTH - 40
        }
        result = scene.step(*(parcel(x) for x in inside.values()))
        for number, track_id in zip(inside, result.track_ids, strict=True):
            ids.setdefault(number, set()).add(track_id)
    assert all(len(seen) == 1 for seen in ids.values())
    assert len(set.union(*ids.values())) == len(ids) >= 2


def test_noise_and_missed_frames_do_not_break_a_track() -> None:
    random = np.random.default_rng(1)
    scene = Scene()
    seen = set()
    for frame in range(60):
        x, y = 50 + 9 * frame + random.normal(0, 3), 200 + random.normal(0, 3)
        missed = frame > 5 and random.random() < 0.3
        result = scene.step(*([] if missed else [parcel(x, y), parcel(x, y + 150)]))
        seen.update(result.track_ids)
    assert seen == {1, 2}


def test_a_gap_in_the_frame_numbers_moves_the_expectation_on() -> None:
    scene = Scene()
    for frame in range(10):
        scene.step(parcel(50 + 20 * frame))
    result = scene.step(parcel(50 + 20 * 22), parcel(50 + 20 * 16), skip=12)
    assert result.track_ids == (1, 2)


def test_two_objects_that_pass_each_other_keep_their_identities() -> None:
    scene = Scene()
    for frame in range(40):
        result = scene.step(
            parcel(100 + 10 * frame, 200, size=50), parcel(500 - 10 * frame, 212, size=50)
        )
    assert result.track_ids == (1, 2)


def test_an_uncertain_detection_keeps_a_track_alive_but_begins_none() -> None:
    scene = Scene(TrackerSettings(certain_score=0.5, confirm_hits=3, keep_frames=3))
    assert scene.step(parcel(300, score=0.3)).track_ids == (None,)
    for _ in range(4):
        scene.step(parcel(300))
    for _ in range(10):
        assert scene.step(parcel(300, score=0.3)).track_ids == (1,)


def test_the_best_label_outlives_single_bad_frames() -> None:
    scene = Scene()
    for frame in range(12):
        label = "damaged" if frame in {5, 11} else "intact"
        result = scene.step(parcel(50 + 20 * frame, label=label))
    (track,) = result.seen
    assert track.track_id == 1
    assert track.detection.label == "damaged"
    assert track.label == "intact"
    assert track.hits == 12
    assert track.first_seen_at_s == 0
    assert track.last_seen_at_s == pytest.approx(11 / 25)


def test_views_cut_by_the_edge_say_little_of_the_label() -> None:
    scene = Scene()
    for frame in range(12):
        label = "unlabelled" if frame < 8 else "intact"
        result = scene.step(parcel(5 + 5 * frame, label=label))
    (track,) = result.seen
    assert track.detection.box.x1 > 4
    assert track.label == "intact"


def test_one_object_found_under_two_labels_is_one_track() -> None:
    scene = Scene()
    for frame in range(6):
        x = 100 + 20 * frame
        result = scene.step(parcel(x, label="a"), parcel(x + 4, label="b", score=0.7))
    assert result.track_ids == (1, None)


def test_tracks_end_when_unseen_for_long_and_when_they_leave() -> None:
    scene = Scene(TrackerSettings(certain_score=0.5, confirm_hits=3, keep_frames=5))
    for frame in range(12):
        scene.step(parcel(400 + 20 * frame), parcel(100, 400))
    ended = [scene.step().ended for _ in range(8)]
    frames_of = {t.track_id: i for i, tracks in enumerate(ended) for t in tracks}
    assert frames_of[2] == 5
    assert frames_of[1] < 5


def test_identities_are_never_used_twice_and_close_ends_all() -> None:
    scene = Scene(TrackerSettings(certain_score=0.5, confirm_hits=3, keep_frames=1))
    for _ in range(4):
        scene.step(parcel(100))
    for _ in range(4):
        scene.step()
    assert scene.step(parcel(100), parcel(400)).track_ids == (2, 3)
    assert [t.track_id for t in scene.tracker.close()] == [2, 3]
    assert scene.step(parcel(100)).track_ids == (4,)


def test_empty_frames_are_fine() -> None:
    result = Scene().step()
    assert result.seen == result.ended == result.track_ids == ()


def test_degenerate_boxes_are_survived() -> None:
    scene = Scene()
    for _ in range(3):
        result = scene.step(Detection(Box(10, 10, 10, 10), 0, "p", 0.9))
    assert len(result.track_ids) == 1


def test_the_filter_learns_a_velocity() -> None:
    boxes = np.array([[0.0, 0, 60, 60], [100, 100, 160, 130]])
    motion = Motion.started_at(boxes)
    for step in range(1, 15):
        boxes_now = boxes + step * np.array([[12.0, 0, 12, 0], [0, -4, 0, -4]])
        motion.predict(1)
        motion.correct([0, 1], centers_of(boxes_now))
    np.testing.assert_allclose(motion.velocity[:, :2], [[12, 0], [0, -4]], atol=0.3)
    np.testing.assert_allclose(motion.position, centers_of(boxes_now), atol=1.0)
    before, unsure = motion.position.copy(), motion.center_variance
    motion.predict(10)
    np.testing.assert_allclose(motion.position[:, :2] - before[:, :2], motion.velocity[:, :2] * 10)
    assert (motion.center_variance > unsure).all()


def test_whoever_comes_out_of_hiding_is_found_again_by_an_uncertain_detection() -> None:
    scene = Scene()
    for frame in range(10):
        scene.step(parcel(100 + 10 * frame))
    for _ in range(8):
        scene.step()
    result = scene.step(parcel(280, score=0.3))
    assert result.track_ids == (1,)
    assert scene.step(parcel(290)).track_ids == (1,)


def test_the_half_in_view_does_not_slow_a_track_down() -> None:
    scene = Scene()
    for frame in range(10):
        scene.step(parcel(100 + 10 * frame))
    for frame in range(10, 14):  # its right half goes behind a post at x = 220
        x = 100 + 10 * frame
        box = Box(x - 40, 160, min(x + 40, 220), 240)
        scene.step(Detection(box, 0, "p", 0.3))
    for _ in range(10):
        scene.step()
    assert scene.step(parcel(340), parcel(250, 330)).track_ids == (1, 2)


@pytest.mark.parametrize(
    ("box", "track_id"), [(Box(260, 150, 360, 250), 2), (Box(270, 180, 370, 220), 1)]
)
def test_what_is_larger_both_ways_is_another_object(box: Box, track_id: int) -> None:
    scene = Scene()
    for _ in range(5):
        scene.step(parcel(300, size=40))
    assert scene.step(Detection(box, 0, "p", 0.9)).track_ids == (track_id,)


def test_a_part_of_an_object_found_once_more_is_no_object() -> None:
    """Weak detectors find a large object and its lower half, the half barely certain."""
    scene = Scene()
    for frame in range(20):
        x = 100 + 10 * frame
        half = Detection(Box(x - 30, 200, x + 40, 262), 0, "q", 0.55)
        result = scene.step(parcel(x, 200, size=120), half)
        assert result.track_ids == (1, None)


def test_a_small_object_on_a_large_one_is_an_object() -> None:
    """Stacked parcels, seen from above: each is found with certainty."""
    scene = Scene()
    for frame in range(5):
        x = 100 + 10 * frame
        result = scene.step(parcel(x, size=160), parcel(x + 10, size=50, score=0.8))
        assert result.track_ids == (1, 2)


def test_an_uncertain_part_of_a_certain_object_keeps_no_track_alive() -> None:
    """The half began as an object where the picture's edge cut both, and would never end."""
    scene = Scene(TrackerSettings(certain_score=0.5, keep_frames=5))
    ended: list[int] = []
    for frame in range(20):
        x = 100 + 10 * frame
        half = Detection(Box(x - 30, 200, x + 40, 262), 0, "p", 0.7 if frame < 4 else 0.3)
        result = scene.step(parcel(x, 200, size=120), half)
        ended += [track.track_id for track in result.ended]
    assert ended == [2]
    assert result.track_ids == (1, None)


def test_an_uncertain_object_behind_a_certain_one_keeps_its_track() -> None:
    """Half hidden, it lies beside the other one for the most part."""
    scene = Scene(TrackerSettings(certain_score=0.5, keep_frames=5))
    for frame in range(20):
        x = 100 + 10 * frame
        hidden = parcel(x + 60, score=0.9 if frame < 4 else 0.3)
        result = scene.step(parcel(x, size=100), hidden)
        assert result.track_ids == (1, 2)
