from __future__ import annotations

from edgehaul.geometry import Box
from edgehaul.values import Detection, Track
from edgehaul_agent.events.tracks import LifeSettings, TrackLife

SETTINGS = LifeSettings(confirm_hits=2, moved_part=0.5, least_interval_s=1.0)


def track(x: float, at_s: float, *, hits: int, label: str = "parcel") -> Track:
    detection = Detection(Box(x, 0, x + 40, 40), 0, label, 0.87654)
    return Track(7, detection, 0.0, at_s, hits, {label: 1.0})


def test_a_life_is_told_from_new_to_end() -> None:
    life = TrackLife(SETTINGS)
    assert life.update([track(0, 0.0, hits=1)]) == []
    (new,) = life.update([track(1, 0.1, hits=2)])
    assert (new.phase, new.track_id, new.before) == ("new", 7, None)
    assert new.after is not None
    assert (new.after.track_id, new.after.score) == (7, 0.8765)
    assert life.update([track(2, 5.0, hits=3)]) == []
    (moved,) = life.update([track(25, 6.0, hits=4)])
    assert (moved.phase, moved.before) == ("update", new.after)
    last = track(30, 6.1, hits=5)
    (end,) = life.update([], ended=[last])
    assert (end.phase, end.before) == ("end", moved.after)
    assert end.after is not None
    assert end.after.box == Box(30, 0, 70, 40)
    assert life.update([], ended=[last]) == []


def test_a_changed_label_is_news() -> None:
    life = TrackLife(SETTINGS)
    life.update([track(0, 0.0, hits=2)])
    (event,) = life.update([track(0, 2.0, hits=3, label="parcel_damaged")])
    assert event.phase == "update"
    assert event.after is not None
    assert event.after.label == "parcel_damaged"


def test_updates_are_rate_limited() -> None:
    life = TrackLife(SETTINGS)
    events = [e for i in range(100) for e in life.update([track(30 * i, i / 25, hits=i + 2)])]
    assert [e.phase for e in events] == ["new", "update", "update", "update"]


def test_a_track_that_was_never_confirmed_is_never_told() -> None:
    life = TrackLife(SETTINGS)
    young = track(0, 0.0, hits=1)
    assert life.update([young]) == []
    assert life.update([], ended=[young]) == []
