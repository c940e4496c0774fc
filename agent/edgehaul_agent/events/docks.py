"""Whether a vehicle stands at a dock, and for how long it stood."""

from __future__ import annotations

from edgehaul.messages.zone_events import DockEvent
from edgehaul_agent.events.settled import Settled
from edgehaul_agent.events.visits import Visit, Zone


class Dock:
    """Tells when a dock becomes occupied and free.

    Either state must hold for ``settle_s``: a vehicle that passes by, and one that the tracker
    loses and finds again as another, change nothing. Durations are those of the states
    themselves and leave this delay out. The first state is told as soon as it has settled.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._occupied: Settled[bool | None] = Settled(None, hold_s=zone.config.settle_s)
        self._vehicle: Visit | None = None

    def update(self, now_s: float) -> DockEvent | None:
        """Judge the dock as it is after this frame."""
        visits = self._zone.visits
        known, before_s = self._occupied.value is not None, self._occupied.since_s
        if not self._occupied.update(bool(visits), now_s):
            return None
        if visits:
            self._vehicle = next(iter(visits.values()))
        vehicle = self._vehicle
        return DockEvent(
            zone=self._zone.config.name,
            state="occupied" if visits else "free",
            label=vehicle.label if vehicle else "",
            track_id=vehicle.track_id if vehicle else None,
            duration_s=round(self._occupied.since_s - before_s, 3) if known else 0.0,
        )
