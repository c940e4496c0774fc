"""Who is in which zone: enter, dwell and exit.

An object is inside from the frame in which its anchor point is inside the polygon, and outside
when the point lies beyond the border by a margin, 15 % of the object's size unless configured:
the two thresholds of a Schmitt trigger (Schmitt 1938, "A thermionic trigger"), so that the
noise of a box that stands on the border makes no events. Frigate waits for a number of frames
instead (a zone's ``inertia``), which misses whoever crosses a small zone in a few frames or
under a large stride, and flickers where the box swings slower than that. Durations leave the
margin out: they end with the first frame outside of the polygon.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgehaul.config.zones import ZoneConfig
from edgehaul.messages.zone_events import ZoneEvent, ZoneReason
from edgehaul.values import Track
from edgehaul_agent.events.polygons import PolygonSet
from edgehaul_agent.events.visits import Visit, Zone


@dataclass(slots=True)
class _Path:
    """What is known of one track.

    Attributes:
        track: As it was seen last.
        label: Its best label then.
        seen_s: When that was.
        bits: The polygons it was inside of; -1 while it is within the margin of one.
        confirmed: Whether its visits are told.
        visits: Its stays under way by index of the zone.
    """

    track: Track
    label: str
    seen_s: float = 0.0
    bits: int = -1
    confirmed: bool = False
    visits: dict[int, Visit] = field(default_factory=dict)


class ZoneWatch:
    """Follows the tracks of one stream through all its zones.

    A young track is judged from its first detection and told as soon as it is confirmed. An
    object that is not detected stays where it was seen last, until its track ends; a dwell is
    told only while the object is seen.

    Attributes:
        zones: The zones, in the order of the configuration.

    Args:
        configs: The zones.
        confirm_hits: Number of detections from which a track is believed.
    """

    def __init__(self, configs: Sequence[ZoneConfig], *, confirm_hits: int) -> None:
        self.zones = tuple(Zone(config) for config in configs)
        self._polygons = PolygonSet([config.polygon for config in configs])
        self._confirm_hits = confirm_hits
        self._paths: dict[int, _Path] = {}
        self._anchors: dict[str, tuple[int, int]] = {}
        self._has_both = False

    def update(
        self, seen: Sequence[Track], ended: Iterable[Track], now_s: float
    ) -> list[ZoneEvent]:
        """Take in the tracks of the next frame and return who entered, stayed or left.

        Args:
            seen: Tracks detected in this frame, young ones among them.
            ended: Tracks that are given up.
            now_s: Stream time.
        """
        events: list[ZoneEvent] = []
        for track in ended:
            events += self._end(track.track_id, "lost")
        labels = [track.label for track in seen]
        bits_of_all = self._memberships(seen, labels)
        for track, label, bits in zip(seen, labels, bits_of_all, strict=True):
            path = self._paths.get(track.track_id)
            if path is None:
                events += self._begin(track, label, bits, now_s)
            elif bits == path.bits and path.confirmed and label == path.label:
                path.track, path.seen_s = track, now_s  # nothing new, as nearly always
            else:
                events += self._move(path, track, label, bits, now_s)
        for zone in self.zones:
            if now_s > zone.dwell_due_s:
                events += self._dwells(zone, now_s)
        return events

    def close(self) -> list[ZoneEvent]:
        """End all visits, as at the end of a stream, and return the exits."""
        return [event for track_id in list(self._paths) for event in self._end(track_id, "closed")]

    def _memberships(self, seen: Sequence[Track], labels: Sequence[str]) -> list[int]:
        """Return for each track the zones that watch its label and that its anchor is inside."""
        anchors = [self._anchors.get(label) or self._learn(label) for label in labels]
        boxes = [track.detection.box for track in seen]
        x = np.array([(box.x1 + box.x2) / 2 for box in boxes])
        y = [
            box.y2 if feet else (box.y1 + box.y2) / 2
            for box, (feet, _) in zip(boxes, anchors, strict=True)
        ]
        bits = self._polygons.memberships(x, np.array(y))
        if not self._has_both:
            return [
                at & (feet | middles) for at, (feet, middles) in zip(bits, anchors, strict=True)
            ]
        # One zone watches an object's foot, and another its middle.
        y = [(box.y1 + box.y2) / 2 for box in boxes]
        more = self._polygons.memberships(x, np.array(y))
        return [
            at_foot & feet | at_middle & middles
            for at_foot, at_middle, (feet, middles) in zip(bits, more, anchors, strict=True)
        ]

    def _learn(self, label: str) -> tuple[int, int]:
        """Note which zones watch a label's objects at their foot, and which at their middle."""
        feet = middles = 0
        for index, zone in enumerate(self.zones):
            if zone.watches(label):
                feet |= zone.takes_foot(label) << index
                middles |= (not zone.takes_foot(label)) << index
        self._anchors[label] = feet, middles
        self._has_both |= bool(feet and middles)
        return feet, middles

    def _begin(self, track: Track, label: str, bits: int, now_s: float) -> list[ZoneEvent]:
        path = self._paths[track.track_id] = _Path(track, label)
        return self._move(path, track, label, bits, now_s, reason="appeared")

    def _move(
        self,
        path: _Path,
        track: Track,
        label: str,
        bits: int,
        now_s: float,
        *,
        reason: ZoneReason = "crossed",
    ) -> list[ZoneEvent]:
        path.track, path.label, path.seen_s, path.bits = track, label, now_s, bits
        events = []
        for index in list(path.visits):
            path.visits[index].label = label
            left = self._leave(path, index, now_s) if not bits >> index & 1 else None
            events += [left] if left else []
        for index in _indices(bits):
            visit = path.visits.get(index)
            if visit is not None:
                visit.left_s = None
                continue
            visit = path.visits[index] = Visit(track.track_id, label, now_s, reason)
            if path.confirmed:
                events.append(self._admit(path, index))
        if not path.confirmed and track.hits >= self._confirm_hits:
            path.confirmed = True
            events += [self._admit(path, index) for index in path.visits]
        return events

    def _admit(self, path: _Path, index: int) -> ZoneEvent:
        zone, visit = self.zones[index], path.visits[index]
        zone.admit(visit)
        return zone.event("enter", visit, path.track.detection.box, path.seen_s, visit.reason)

    def _leave(self, path: _Path, index: int, now_s: float) -> ZoneEvent | None:
        """End a visit whose object is outside, unless it is still within the margin."""
        zone, visit = self.zones[index], path.visits[index]
        if visit.left_s is None:
            visit.left_s = now_s
        reason: ZoneReason = "crossed"
        if not zone.watches(path.label):
            reason = "relabelled"
        elif not zone.has_left(path.label, path.track.detection.box):
            path.bits = -1  # so that the next frame asks again
            return None
        return self._exit(path, index, reason)

    def _end(self, track_id: int, reason: ZoneReason) -> list[ZoneEvent]:
        path = self._paths.pop(track_id, None)
        if path is None:
            return []
        exits = [
            self._exit(path, index, reason if path.visits[index].left_s is None else "crossed")
            for index in list(path.visits)
        ]
        return [event for event in exits if event]

    def _exit(self, path: _Path, index: int, reason: ZoneReason) -> ZoneEvent | None:
        """Forget a visit; return its exit, if its enter was told."""
        zone, visit = self.zones[index], path.visits.pop(index)
        zone.visits.pop(visit.track_id, None)
        if not path.confirmed:
            return None
        until_s = path.seen_s if visit.left_s is None else visit.left_s
        return zone.event("exit", visit, path.track.detection.box, until_s, reason)

    def _dwells(self, zone: Zone, now_s: float) -> list[ZoneEvent]:
        after_s = zone.config.dwell_after_s
        if after_s is None:
            return []
        events, due_s = [], math.inf
        for visit in zone.visits.values():
            path = self._paths[visit.track_id]
            waits = not visit.dwelt
            if waits and path.seen_s == now_s and now_s - visit.entered_s > after_s:
                visit.dwelt = True
                events.append(zone.event("dwell", visit, path.track.detection.box, now_s, ""))
            elif waits:
                due_s = min(due_s, visit.entered_s + after_s)
        zone.dwell_due_s = due_s
        return events


def _indices(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
