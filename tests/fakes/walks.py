"""Objects that walk through a picture as told, and what the rules of a stream say of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from edgehaul.config.device import StreamConfig
from edgehaul.config.recordings import FileSource
from edgehaul.config.zones import ZoneConfig
from edgehaul.geometry import Box, Point
from edgehaul.messages.payloads import CameraEvent
from edgehaul.values import Detection, Track
from edgehaul_agent.events.rules import StreamRules

FPS = 10
CONFIRM_HITS = 1
SIZE_PX = 40

Place = tuple[float, float]
Walk = Callable[[int], Place | None]
"""The middle of an object's box in each frame; none while it is not detected."""


def square(
    name: str = "yard",
    *,
    at: Place = (100, 100),
    side: float = 100,
    **keys: Any,  # noqa: ANN401 - any key of the configuration
) -> ZoneConfig:
    """Return a zone that is a square, by its top left corner."""
    x, y = at
    corners = ((x, y), (x + side, y), (x + side, y + side), (x, y + side))
    return ZoneConfig(name=name, points=tuple(Point(a, b) for a, b in corners), **keys)


def stream(
    *zones: ZoneConfig,
    **keys: Any,  # noqa: ANN401 - as above
) -> StreamConfig:
    """Return a stream with these zones that publishes what they tell."""
    keys.setdefault("publish", ("zones",))
    return StreamConfig(name="cam", source=FileSource(path="a"), model="m", zones=zones, **keys)


def track(
    x: float,
    y: float,
    *,
    track_id: int = 1,
    label: str = "parcel",
    hits: int = 99,
    size: float = SIZE_PX,
    at_s: float = 0.0,
) -> Track:
    """Return a track by the middle of its box."""
    half = size / 2
    detection = Detection(Box(x - half, y - half, x + half, y + half), 0, label, 0.9)
    return Track(track_id, detection, 0.0, at_s, hits, {label: 1.0})


def steps(*places: Place | None) -> Walk:
    """Return the walk through these places, one a frame; it stays at the last."""
    return lambda frame: places[min(frame, len(places) - 1)]


class Street:
    """Drives the rules of one stream frame by frame; tracks end after some frames unseen."""

    def __init__(
        self, config: StreamConfig, *, fps: float = FPS, keep_frames: int = 5, confirm_hits: int = 1
    ) -> None:
        self.rules = StreamRules(config, confirm_hits)
        self.events: list[tuple[float, CameraEvent]] = []
        self.frame = 0
        self._fps = fps
        self._keep_frames = keep_frames
        self._unseen: dict[int, int] = {}
        self._last: dict[int, Track] = {}
        self._hits: dict[int, int] = {}

    @property
    def now_s(self) -> float:
        """Capture time of the next frame."""
        return self.frame / self._fps

    def step(self, tracks: Iterable[Track]) -> list[CameraEvent]:
        """Let one frame pass and return what was told."""
        seen = tuple(tracks)
        for one in seen:
            self._unseen[one.track_id], self._last[one.track_id] = 0, one
        ids = {one.track_id for one in seen}
        ended = []
        for track_id in list(self._unseen):
            self._unseen[track_id] += track_id not in ids
            if self._unseen[track_id] > self._keep_frames:
                del self._unseen[track_id]
                ended.append(self._last[track_id])
        told = list(self.rules.update(seen, ended, self.now_s))
        self.events += [(self.now_s, event) for event in told]
        self.frame += 1
        return told

    def run(
        self, walks: Mapping[int, Walk], frames: int, labels: Mapping[int, str] | None = None
    ) -> Sequence[tuple[float, CameraEvent]]:
        """Let objects walk for some frames, from frame 0 of their walks, and return the events."""
        first = len(self.events)
        for frame in range(frames):
            found = []
            for track_id, walk in walks.items():
                place = walk(frame)
                if place is not None:
                    self._hits[track_id] = self._hits.get(track_id, 0) + 1
                    label = (labels or {}).get(track_id, "parcel")
                    found.append(
                        track(
                            *place,
                            track_id=track_id,
                            label=label,
                            hits=self._hits[track_id],
                            at_s=self.now_s,
                        )
                    )
            self.step(found)
        return self.events[first:]
