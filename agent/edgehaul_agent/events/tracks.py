"""The life of tracks as messages: ``new``, ``update`` where something changed, ``end``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from edgehaul.geometry import Box
from edgehaul.messages.payloads import DetectedObject, TrackEvent, TrackPhase
from edgehaul.values import Track


class LifeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a change is worth a message.

    Attributes:
        confirm_hits: Number of detections from which a track is announced.
        moved_part: Way of the centre since the last message, as a part of the object's size.
        least_interval_s: Least capture time between two updates of one track.
    """

    confirm_hits: int = 3
    moved_part: float = 0.5
    least_interval_s: float = 1.0


@dataclass(slots=True)
class _Told:
    """What subscribers know of a track."""

    state: DetectedObject
    at_s: float


class TrackLife:
    """Tells what became of each confirmed track of one stream."""

    def __init__(self, settings: LifeSettings) -> None:
        self._settings = settings
        self._told: dict[int, _Told] = {}

    def update(self, seen: Iterable[Track], ended: Iterable[Track] = ()) -> list[TrackEvent]:
        """Take in the tracks of the next frame and return what is to be told.

        Args:
            seen: Tracks detected in this frame.
            ended: Tracks that are given up.
        """
        events = []
        for track in seen:
            told = self._told.get(track.track_id)
            if told is None:
                if track.hits >= self._settings.confirm_hits:
                    events.append(self._tell(track, before=None))
            elif self._is_news(told, track):
                events.append(self._tell(track, before=told.state))
        for track in ended:
            last = self._told.pop(track.track_id, None)
            if last is not None:
                events.append(
                    TrackEvent(
                        phase="end",
                        track_id=track.track_id,
                        before=last.state,
                        after=object_of(track),
                    )
                )
        return events

    def _tell(self, track: Track, before: DetectedObject | None) -> TrackEvent:
        state = object_of(track)
        self._told[track.track_id] = _Told(state, track.last_seen_at_s)
        phase: TrackPhase = "new" if before is None else "update"
        return TrackEvent(phase=phase, track_id=track.track_id, before=before, after=state)

    def _is_news(self, told: _Told, track: Track) -> bool:
        if track.last_seen_at_s - told.at_s < self._settings.least_interval_s:
            return False
        if track.label != told.state.label:
            return True
        if track.attributes != told.state.attributes:
            return True
        box = track.detection.box
        way_px = _way_px(told.state.box, box)
        return way_px > self._settings.moved_part * math.sqrt(max(box.area, 1.0))


def object_of(track: Track) -> DetectedObject:
    """Return a track as messages show it: its newest box under its best label."""
    return DetectedObject(
        label=track.label,
        score=round(track.detection.score, 4),
        box=track.detection.box.rounded(),
        track_id=track.track_id,
        attributes=track.attributes,
    )


def _way_px(before: Box, after: Box) -> float:
    start, end = before.center, after.center
    return math.hypot(end.x - start.x, end.y - start.y)
