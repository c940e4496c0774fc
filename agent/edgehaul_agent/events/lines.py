"""Counting objects as they cross lines."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edgehaul.geometry import Line, Point
from edgehaul.messages.payloads import CountEvent
from edgehaul.values import Track

REARM_PART = 0.15
"""How far, as a part of its size, an object must leave a line before it can cross it again."""


@dataclass(slots=True)
class _Path:
    """What is known of one object's way.

    Attributes:
        last: Where it was seen last.
        at: Where it crossed last, if it ever did.
        armed: Whether it has been clear of the line since it was last counted.
        crossed: Times that its way crossed the segment forward, less those backward.
        told: The same, as far as it was counted.
    """

    last: Point
    at: Point
    armed: bool
    crossed: int = 0
    told: int = 0


class LineCounter:
    """Counts the confirmed tracks of one stream that cross one line.

    The way of the centre of the detected box, from each detection to the next, is laid against
    the segment itself, so frames without a detection in between do no harm, and who walks round
    an end of the line does not cross it. The sum of these crossings, forward less backward, is
    exact at any time. It is told at once of an object that has been clear of the line since it
    was last counted (by 15 % of its size), and of any other as soon as it is clear. So an object
    that trembles on the line is counted once, one that turns back is counted back, and one that
    first appears on the line is not counted for the noise of its box. A young track is judged
    from its first position as soon as it is confirmed.

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
        events = [event for track in seen for event in self._judge(track)]
        for track in ended:
            self._paths.pop(track.track_id, None)
        return events

    def _judge(self, track: Track) -> list[CountEvent]:
        box = track.detection.box
        here = box.center
        path = self._paths.get(track.track_id)
        if path is None:
            path = self._paths[track.track_id] = _Path(here, here, armed=False)
        direction = self._line.crossed_by(path.last, here)
        if direction:
            path.crossed += direction
            path.at = self._crossing(path.last, here)
        path.last = here
        if path.armed and path.told == path.crossed:
            return []  # as nearly always
        clear = self._line.distance_px(here) > REARM_PART * math.sqrt(box.area)
        events = []
        if (path.armed or clear) and track.hits >= self._confirm_hits:
            while path.told != path.crossed:
                events.append(self._count(track, path))
                path.armed = False
        path.armed = path.armed or clear
        return events

    def _count(self, track: Track, path: _Path) -> CountEvent:
        direction: Literal["forward", "backward"] = (
            "forward" if path.crossed > path.told else "backward"
        )
        path.told += 1 if direction == "forward" else -1
        self._totals[f"{direction}/{track.label}"] += 1
        return CountEvent(
            line=self._name,
            direction=direction,
            label=track.label,
            track_id=track.track_id,
            at=path.at,
            totals=self.totals,
        )

    def _crossing(self, before: Point, after: Point) -> Point:
        """Return where the step from ``before`` to ``after`` meets the line."""
        start, end = self._line.side(before), self._line.side(after)
        part = start / (start - end)
        return Point(before.x + part * (after.x - before.x), before.y + part * (after.y - before.y))
