"""One zone: its anchor point, its margin, and the stays of the objects inside."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgehaul.config.zones import ZoneConfig
from edgehaul.geometry import Box, Point
from edgehaul.messages.zone_events import ZoneEvent, ZonePhase, ZoneReason

MARGIN_PART = 0.15
"""How far outside an object must be to have left, as a part of its size (as of lines)."""
STANDING_LABELS = frozenset(
    {
        *("person", "people", "pedestrian", "worker", "driver", "rider"),
        *("bicycle", "motorcycle", "motorbike", "car", "van", "truck", "bus", "lorry", "trailer"),
        *("vehicle", "forklift", "train"),
    }
)
"""Labels whose objects stand on the ground seen from the side: their place is the box's foot."""


@dataclass(slots=True)
class Visit:
    """One object's stay in one zone, in seconds of stream time.

    Attributes:
        track_id: The object.
        label: Its best label.
        entered_s: The first frame inside.
        reason: How it came to be inside.
        left_s: The first frame outside of the polygon, while it is not yet beyond the margin.
        dwelt: Whether its dwell is told.
    """

    track_id: int
    label: str
    entered_s: float
    reason: ZoneReason
    left_s: float | None = None
    dwelt: bool = False


class Zone:
    """One zone and the confirmed objects inside.

    Attributes:
        config: The zone.
        visits: The stays under way, by track, in the order in which they were told.
    """

    def __init__(self, config: ZoneConfig) -> None:
        self.config = config
        self.visits: dict[int, Visit] = {}
        self.dwell_due_s = math.inf
        self._polygon = config.polygon

    def margin_px(self, box: Box) -> float:
        """Return how far outside an object with this box must be to have left."""
        if self.config.margin_px is not None:
            return self.config.margin_px
        return MARGIN_PART * math.sqrt(box.area)

    def anchor(self, label: str, box: Box) -> Point:
        """Return the point of an object that is inside or outside."""
        center = box.center
        return Point(center.x, box.y2) if self.takes_foot(label) else center

    def watches(self, label: str) -> bool:
        """Return whether objects of this class count."""
        return not self.config.labels or label in self.config.labels

    def takes_foot(self, label: str) -> bool:
        """Return whether the anchor of these objects is the middle of the box's lower edge."""
        anchor = self.config.anchor
        return anchor == "bottom" or (anchor == "auto" and label in STANDING_LABELS)

    def has_left(self, label: str, box: Box) -> bool:
        """Return whether an object outside of the polygon is beyond the margin, too."""
        return self._polygon.distance_px(self.anchor(label, box)) > self.margin_px(box)

    def admit(self, visit: Visit) -> None:
        """Count an object as inside."""
        self.visits[visit.track_id] = visit
        if self.config.dwell_after_s is not None:
            self.dwell_due_s = min(self.dwell_due_s, visit.entered_s + self.config.dwell_after_s)

    def event(
        self, phase: ZonePhase, visit: Visit, box: Box, until_s: float, reason: ZoneReason
    ) -> ZoneEvent:
        """Return the event of a visit that has lasted until ``until_s``."""
        at = self.anchor(visit.label, box)
        return ZoneEvent(
            zone=self.config.name,
            phase=phase,
            label=visit.label,
            track_id=visit.track_id,
            at=Point(round(at.x, 2), round(at.y, 2)),
            dwell_s=round(max(0.0, until_s - visit.entered_s), 3),
            reason=reason,
        )
