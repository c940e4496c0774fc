"""Counting objects as they cross lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from edgehaul.geometry import Line, Point
from edgehaul.messages.payloads import CountEvent
from edgehaul.values import Track

REARM_PART = 0.15
"""How far, as a part of its size, an object must leave a line before it can cross it again."""


@dataclass(slots=True)
class _Path:
    """Where an object stands to the line: its last point on the side it was counted on."""

    anchor: Point
    armed: bool


class LineCounter:
    """Counts the confirmed tracks of one stream that cross one line.

    A crossing is judged by the centre of the detected box between the last position on one
    side and the first on the other, so frames without a detection in between do no harm.
    A young track is judged from its first position as soon as it is confirmed. An object that
    trembles on the line is counted once.

    Args:
        name: Name of the line in the events.
        line: The line; forward is to its right as seen on screen.
        confirm_hits: Number of detections from which a track is believed.
    """

    def __init__(self, name: str, line: Line, *, confirm_hits: int) -> None:
        self._name = name
        self._line = line
        self._confirm_hits = confirm_hits
        self._paths: dict[int, _Path] = {}
        self._totals: Counter[str] = Counter()

    @property
    def totals(self) -> dict[str, int]:
        """Crossings since start, ``{direction}/{label}`` to number."""
        return dict(self._totals)

    def update(self, seen: Iterable[Track], ended: Iterable[Track] = ()) -> list[CountEvent]:
        """Take in the tracks of the next frame and return the crossings.

        Args:
            seen: Tracks detected in this frame, young ones among them.
            ended: Tracks that are given up and will not come again.
        """
        events = [event for track in seen if (event := self._judge(track)) is not None]
        for track in ended:
            self._paths.pop(track.track_id, None)
        return events

    def _judge(self, track: Track) -> CountEvent | None:
        box = track.detection.box
        here = box.center
        path = self._paths.setdefault(track.track_id, _Path(here, armed=True))
        if track.hits < self._confirm_hits:
            return None
        clear = self._distance_px(here) > REARM_PART * math.sqrt(box.area)
        if (self._line.side(here) >= 0) == (self._line.side(path.anchor) >= 0):
            path.anchor = here
            path.armed = path.armed or clear
            return None
        direction = self._line.crossed_by(path.anchor, here)
        if direction and not (path.armed or clear):
            return None  # it trembles on the line: wait until it has left it
        before, path.anchor = path.anchor, here
        path.armed = clear or not direction
        return self._count(track, direction, before) if direction else None

    def _count(self, track: Track, direction: int, before: Point) -> CountEvent:
        word = "forward" if direction > 0 else "backward"
        self._totals[f"{word}/{track.label}"] += 1
        return CountEvent(
            line=self._name,
            direction="forward" if direction > 0 else "backward",
            label=track.label,
            track_id=track.track_id,
            at=self._crossing(before, track.detection.box.center),
            totals=self.totals,
        )

    def _crossing(self, before: Point, after: Point) -> Point:
        """Return where the step from ``before`` to ``after`` meets the line."""
        start, end = self._line.side(before), self._line.side(after)
        part = start / (start - end)
        return Point(before.x + part * (after.x - before.x), before.y + part * (after.y - before.y))

    def _distance_px(self, point: Point) -> float:
        length = math.dist(
            (self._line.start.x, self._line.start.y), (self._line.end.x, self._line.end.y)
        )
        return abs(self._line.side(point)) / max(length, 1e-9)
