"""Objects left standing, and objects that had stood there and are gone; by their tracks alone.

An object stands still while the middle of its box stays within a quarter of its size of where
it was when it came to rest. Its *place* outlives its track: a track that begins where one was
lost takes the place over, with the time it has stood.

An object is gone when its place is in plain view and it is not detected there. A place is not
in plain view while detected objects of whatever class cover a fifth of it: that time does not
count, neither as gone nor as seen.

What tracks alone can not see: an object of no class of the model, or one that the detector
misses for ``removed_after_s`` (it is told as removed); what hides a place but is not detected
itself, such as a closed door, a lamp that goes out or a camera that is turned; one object put
in the place of another of a watched class; who left or took it; and whether an object that
stands there when the stream begins was left just now (it is told as left when it has stood for
``left_after_s`` from then on).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgehaul.geometry import Box
from edgehaul.messages.zone_events import ObjectEvent
from edgehaul.values import Track
from edgehaul_agent.events.visits import Zone

REST_PART = 0.25
"""How far a box may move about, as a part of its size, and its object still stand."""
HIDDEN_PART = 0.2
"""The part of a place from which on what covers it hides whether something stands there."""
SAME_PLACE_IOU = 0.5
"""Overlap from which a new track stands in the place of a lost one."""


REST_S = 1.0
"""A shorter stand is forgotten when its object is lost."""
FORGOTTEN_AFTER_S = 60.0
"""How long an empty place in plain view is remembered where nobody asks for what was removed."""


@dataclass(slots=True)
class _Place:
    """Where one object stands or stood.

    Attributes:
        box: Its box when it came to rest.
        reach_px: How far the middle of its box may move about.
        label: Its best label.
        track_id: Its newest track.
        since_s: When it came to rest.
        seen_s: When it was last detected there.
        gone_s: How long it has been gone in plain view.
        left: Whether it is told as left.
    """

    box: Box
    reach_px: float
    label: str
    track_id: int
    since_s: float
    seen_s: float
    gone_s: float = 0.0
    left: bool = False

    @property
    def stood_s(self) -> float:
        """How long it has stood, as far as it was seen."""
        return self.seen_s - self.since_s

    def holds(self, box: Box) -> bool:
        """Return whether an object with this box still stands here."""
        x, y = (
            box.x1 + box.x2 - self.box.x1 - self.box.x2,
            box.y1 + box.y2 - self.box.y1 - self.box.y2,
        )
        return math.hypot(x, y) <= 2 * self.reach_px

    def hidden_by(self, box: Box) -> bool:
        """Return whether an object with this box covers too much to see what stands here."""
        width = min(box.x2, self.box.x2) - max(box.x1, self.box.x1)
        height = min(box.y2, self.box.y2) - max(box.y1, self.box.y1)
        return min(width, height) > 0 and width * height >= HIDDEN_PART * self.box.area


class ObjectWatch:
    """Tells of objects left in, and removed from, one zone.

    Args:
        zone: The zone, which knows who is inside; its labels are the objects watched.
    """

    def __init__(self, zone: Zone) -> None:
        config = zone.config
        self._zone = zone
        self._left_after_s = math.inf if config.left_after_s is None else config.left_after_s
        self._settled_after_s = config.settled_after_s
        self._tells_removed = config.removed_after_s is not None
        self._patience_s = (
            FORGOTTEN_AFTER_S if config.removed_after_s is None else config.removed_after_s
        )
        self._places: dict[int, _Place] = {}
        self._vacant: list[_Place] = []
        self._last_s = 0.0

    def update(self, seen: Mapping[int, Track], now_s: float) -> list[ObjectEvent]:
        """Take in the tracks of the next frame, after the zone did.

        Args:
            seen: All tracks detected in this frame, by id: also those that only hide a place.
            now_s: Stream time.
        """
        step_s, self._last_s = now_s - self._last_s, now_s
        visits, events = self._zone.visits, []
        inside = {track_id: seen[track_id] for track_id in visits if track_id in seen}
        if self._places:
            self._vacate(inside, seen)
        for track_id, track in inside.items():
            place = self._places.get(track_id)
            if place is None:
                place = self._places[track_id] = self._taken_over(track) or _Place(
                    box=track.detection.box,
                    reach_px=REST_PART * math.sqrt(track.detection.box.area),
                    label="",
                    track_id=track_id,
                    since_s=now_s,
                    seen_s=now_s,
                )
            place.label, place.track_id = visits[track_id].label, track_id
            place.seen_s, place.gone_s = now_s, 0.0
            if not place.left and place.stood_s > self._left_after_s:
                place.left = True
                events.append(self._event("left", place))
        return events + (self._gone(seen, step_s) if self._vacant else [])

    def _vacate(self, inside: Mapping[int, Track], seen: Mapping[int, Track]) -> None:
        """Set aside the places whose object is not seen, or has moved away."""
        for track_id, place in list(self._places.items()):
            track = inside.get(track_id)
            if track is not None and place.holds(track.detection.box):
                continue
            del self._places[track_id]
            # One that is seen to move on leaves nothing behind where it was no part of the scene.
            least_s = self._settled_after_s if track_id in seen else REST_S
            if place.stood_s >= least_s:
                self._vacant.append(place)

    def _taken_over(self, track: Track) -> _Place | None:
        """Return the place of a lost object in which the track stands, if there is one."""
        for place in self._vacant:
            same = place.track_id == track.track_id
            if place.holds(track.detection.box) and (
                same or place.box.iou(track.detection.box) >= SAME_PLACE_IOU
            ):
                self._vacant.remove(place)
                return place
        return None

    def _gone(self, seen: Mapping[int, Track], step_s: float) -> list[ObjectEvent]:
        """Let time pass for the vacant places in plain view and return what was removed."""
        events, vacant = [], []
        for place in self._vacant:
            if not any(place.hidden_by(track.detection.box) for track in seen.values()):
                place.gone_s += step_s
            elif self._is_pushed_aside(place):
                continue
            if place.gone_s <= self._patience_s:
                vacant.append(place)
            elif self._tells_removed and place.stood_s >= self._settled_after_s:
                events.append(self._event("removed", place))
        self._vacant = vacant
        return events

    def _is_pushed_aside(self, place: _Place) -> bool:
        """Return whether the object stands a little beside its place, part of the scene again."""
        other = self._places.get(place.track_id)
        return other is not None and other.stood_s >= self._settled_after_s

    def _event(self, phase: Literal["left", "removed"], place: _Place) -> ObjectEvent:
        return ObjectEvent(
            zone=self._zone.config.name,
            phase=phase,
            label=place.label,
            track_id=place.track_id,
            box=place.box.rounded(),
            stood_s=round(place.stood_s, 3),
        )
