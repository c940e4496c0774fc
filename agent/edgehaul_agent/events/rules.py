"""All rules of one camera stream, driven in order by the tracks of each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgehaul.config.device import StreamConfig
from edgehaul.messages.payloads import CameraEvent
from edgehaul.values import Track
from edgehaul_agent.events.docks import Dock
from edgehaul_agent.events.lines import LineCounter
from edgehaul_agent.events.objects import ObjectWatch
from edgehaul_agent.events.occupancy import Occupancy, Queue
from edgehaul_agent.events.settled import StreamTime
from edgehaul_agent.events.tracks import LifeSettings, TrackLife
from edgehaul_agent.events.visits import Zone
from edgehaul_agent.events.zones import ZoneWatch

_STATES: dict[str, type[Occupancy | Queue | Dock]] = {
    "area": Occupancy,
    "queue": Queue,
    "dock": Dock,
}


class StreamRules:
    """Tells what the tracked objects of one stream do: their lives, lines, zones and objects.

    Time is the frames' capture time. Belongs to one thread, as the tracker does.

    Args:
        config: The stream; what it does not publish is not looked at.
        confirm_hits: Number of detections from which a track is believed.
    """

    def __init__(self, config: StreamConfig, confirm_hits: int) -> None:
        publish = config.publish
        self._time = StreamTime()
        self._life = TrackLife(LifeSettings(confirm_hits=confirm_hits))
        self._tells_lives = "tracks" in publish
        self._counters = [
            LineCounter(line.name, line.points, confirm_hits=confirm_hits)
            for line in (config.lines if "counts" in publish else ())
        ]
        zones = config.zones if "zones" in publish else ()
        self._watch = ZoneWatch(zones, confirm_hits=confirm_hits)
        self._states = [_STATES[zone.config.kind](zone) for zone in self._watch.zones]
        self._objects = [ObjectWatch(zone) for zone in self._watch.zones if _has_objects(zone)]

    def update(
        self, seen: Sequence[Track], ended: Iterable[Track], captured_at_s: float
    ) -> Iterator[CameraEvent]:
        """Take in the tracks of the next frame and return what is to be told, in order.

        Args:
            seen: Tracks detected in this frame, young ones among them.
            ended: Tracks that are given up.
            captured_at_s: Capture time of the frame, UTC seconds; it may stand still or jump.
        """
        ended = tuple(ended)
        now_s = self._time.at(captured_at_s)
        events: list[CameraEvent] = []
        if self._tells_lives:
            events += self._life.update(seen, ended)
        for counter in self._counters:
            events += counter.update(seen, ended)
        if self._watch.zones:
            events += self._watch.update(seen, ended, now_s)
            states = (state.update(now_s) for state in self._states)
            events += [event for event in states if event is not None]
            by_id = {track.track_id: track for track in seen} if self._objects else {}
            for objects in self._objects:
                events += objects.update(by_id, now_s)
        return iter(events)

    def close(self, captured_at_s: float, ended: Iterable[Track] = ()) -> Iterator[CameraEvent]:
        """End the stream: whoever is in a zone leaves it, and every life that is told ends.

        Occupancy is not told: the zones are not empty, but no longer watched.

        Args:
            captured_at_s: Capture time of the last frame, UTC seconds.
            ended: The tracks that the tracker still had.
        """
        self._time.at(captured_at_s)
        events: list[CameraEvent] = [*self._watch.close()]
        if self._tells_lives:
            events = [*self._life.update((), ended), *events]
        return iter(events)


def _has_objects(zone: Zone) -> bool:
    config = zone.config
    return config.left_after_s is not None or config.removed_after_s is not None
