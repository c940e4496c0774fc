"""Which events of a camera have a picture, of which part, and under which name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgehaul.config.snapshots import SnapshotSection
from edgehaul.geometry import Box
from edgehaul.messages.payloads import CameraEvent
from edgehaul.messages.zone_events import ObjectEvent
from edgehaul.values import Image, Track
from edgehaul.vision.crop import crop
from edgehaul_agent.media.album import Album, Shot
from edgehaul_agent.media.archive import name_below_root
from edgehaul_agent.pipeline.occasions import Occasions


class Snapshots:
    """Keeps pictures of one camera stream.

    Args:
        album: Writes them, if it has the time.
        stream: Name of the stream.
        section: Of what, and how many.
        lost: Called for each picture that is not kept although it should be.
    """

    def __init__(
        self, album: Album, stream: str, section: SnapshotSection, lost: Callable[[], None]
    ) -> None:
        self._album = album
        self._stream = stream
        self._section = section
        self._lost = lost
        self._occasions = Occasions(section, Album.suffix)
        album.keep(stream, section)

    def take(
        self, event: CameraEvent, picture: Image, seen: Sequence[Track], captured_at_s: float
    ) -> str:
        """Return the name of an event's picture, below the device's root; empty for none.

        The file comes a moment later; it may never come where the disk is full, and it goes when
        its time is over.

        Args:
            event: What happened.
            picture: In which picture, (height, width, 3) uint8 BGR.
            seen: The tracks detected in it.
            captured_at_s: Its capture time, UTC seconds.
        """
        if not self._occasions.include(event):
            return ""
        box = _box_of(event, seen)
        if box is not None and self._section.padding is not None:
            # Copied: a view would keep the whole picture in memory while it waits.
            picture = crop(picture, box, self._section.padding).copy()
        path = self._occasions.path(event, captured_at_s)
        if not self._album.put(Shot(self._stream, path, picture, self._lost)):
            self._lost()
            return ""
        return name_below_root(self._stream, path)


def _box_of(event: CameraEvent, seen: Sequence[Track]) -> Box | None:
    """Return where the object of an event is; none where it is of no single object in sight."""
    if isinstance(event, ObjectEvent):
        return event.box
    track_id = getattr(event, "track_id", None)
    return next((t.detection.box for t in seen if t.track_id == track_id), None)
