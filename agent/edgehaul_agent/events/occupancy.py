"""How many objects are in a zone, who waits there for how long, and when they are too many."""

from __future__ import annotations

from collections import Counter

from edgehaul.config.zones import ZoneConfig
from edgehaul.messages.zone_events import OccupancyEvent, QueueEvent
from edgehaul_agent.events.settled import Settled
from edgehaul_agent.events.visits import Zone


class Crowding:
    """A settled number of objects, and whether they have been too many for long enough.

    Attributes:
        count: The number; it changes when a new one has held for ``settle_s``.
        overcrowded: Whether they are too many.
    """

    def __init__(self, config: ZoneConfig) -> None:
        self.overcrowded = False
        self._count = Settled(0, hold_s=config.settle_s)
        self._most = config.max_objects
        self._after_s = config.overcrowded_after_s
        self._since_s: float | None = None

    @property
    def count(self) -> int:
        """The settled number."""
        return self._count.value

    def update(self, count: int, now_s: float) -> bool:
        """Take in the number of this frame; return whether there is something to tell."""
        changed = self._count.update(count, now_s)
        if self._most is None:
            return changed
        if self._count.value <= self._most:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = self._count.since_s
        was = self.overcrowded
        long = self._since_s is not None and now_s - self._since_s > self._after_s
        # A number that has just fallen, and has yet to settle, makes no crowd; nor does it end one.
        self.overcrowded = long and (was or count > self._most)
        return changed or self.overcrowded != was


class Occupancy:
    """Tells the number of objects in a zone when it changes."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._crowding = Crowding(zone.config)
        self._labels: dict[str, int] = {}

    def update(self, now_s: float) -> OccupancyEvent | None:
        """Judge the zone as it is after this frame."""
        visits, crowding = self._zone.visits, self._crowding
        if not crowding.update(len(visits), now_s):
            return None
        if crowding.count == len(visits):  # else one is lost for a moment, as likely as not
            self._labels = dict(Counter(visit.label for visit in visits.values()))
        return OccupancyEvent(
            zone=self._zone.config.name,
            count=crowding.count,
            labels=self._labels,
            overcrowded=crowding.overcrowded,
        )


class Queue:
    """Tells the length of a queue when it changes, and how long those in it have waited.

    An object waits when it has been inside for ``settle_s``: who only walks through is in no
    queue. Its waiting time counts from its entering. An object that the tracker loses and finds
    again as another begins to wait anew: the times are those of tracks, not of people.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._crowding = Crowding(zone.config)

    def update(self, now_s: float) -> QueueEvent | None:
        """Judge the zone as it is after this frame."""
        least_s = self._zone.config.settle_s
        stays = [now_s - visit.entered_s for visit in self._zone.visits.values()]
        waits = [stay for stay in stays if stay >= least_s]
        if not self._crowding.update(len(waits), now_s):
            return None
        return QueueEvent(
            zone=self._zone.config.name,
            length=self._crowding.count,
            mean_wait_s=round(sum(waits) / len(waits), 3) if waits else 0.0,
            max_wait_s=round(max(waits), 3) if waits else 0.0,
            overcrowded=self._crowding.overcrowded,
        )
