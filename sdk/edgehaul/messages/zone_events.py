"""What the zones of a camera stream tell; each is the ``event`` of an ``EventData``."""

from __future__ import annotations

from typing import Literal

import msgspec

from edgehaul.geometry import Box, Point

ZonePhase = Literal["enter", "dwell", "exit"]
ZoneReason = Literal["", "crossed", "appeared", "lost", "relabelled", "closed"]


class ZoneEvent(msgspec.Struct, frozen=True, kw_only=True, tag="zone"):
    """An object entered a zone, stays long in it, or left it.

    Attributes:
        zone: Name of the zone.
        phase: ``enter``, ``dwell`` (once, when it has stayed for longer than asked) or ``exit``.
        label: Best label of the object over its track.
        track_id: The object.
        at: Its anchor point, in pixels.
        dwell_s: How long it has been, or was, inside.
        reason: Of ``enter``: ``crossed`` the border, or ``appeared`` inside. Of ``exit``:
            ``crossed`` the border, ``lost`` by the tracker inside, ``relabelled`` as something
            that the zone does not watch, or ``closed``: the stream ended. Of ``dwell``: empty.
    """

    zone: str
    phase: ZonePhase
    label: str
    track_id: int
    at: Point
    dwell_s: float = 0.0
    reason: ZoneReason = ""


class OccupancyEvent(msgspec.Struct, frozen=True, kw_only=True, tag="occupancy"):
    """The number of objects in a zone changed, or they have become, or ceased to be, too many.

    Attributes:
        zone: Name of the zone.
        count: Objects inside.
        labels: The same by label.
        overcrowded: Whether they are too many, and have been for as long as configured.
    """

    zone: str
    count: int
    labels: dict[str, int] = {}
    overcrowded: bool = False


class QueueEvent(msgspec.Struct, frozen=True, kw_only=True, tag="queue"):
    """The length of a queue changed, or it has become, or ceased to be, too long.

    Attributes:
        zone: Name of the zone.
        length: Objects that wait.
        mean_wait_s: How long they have waited, in the mean; 0 where none does.
        max_wait_s: How long the one has waited that has waited longest.
        overcrowded: Whether they are too many, and have been for as long as configured.
    """

    zone: str
    length: int
    mean_wait_s: float = 0.0
    max_wait_s: float = 0.0
    overcrowded: bool = False


class DockEvent(msgspec.Struct, frozen=True, kw_only=True, tag="dock"):
    """A dock became occupied or free.

    Attributes:
        zone: Name of the zone.
        state: What it is from now on.
        label: Best label of the vehicle that came or left.
        track_id: That vehicle; the one first there where there were several.
        duration_s: How long the state before lasted: with ``free``, the vehicle's stay.
    """

    zone: str
    state: Literal["free", "occupied"]
    label: str = ""
    track_id: int | None = None
    duration_s: float = 0.0


class ObjectEvent(msgspec.Struct, frozen=True, kw_only=True, tag="object"):
    """An object was left standing, or one that had stood there was removed.

    Attributes:
        zone: Name of the zone.
        phase: ``left`` or ``removed``.
        label: Best label of the object.
        track_id: Its track, the last one where the tracker lost and found it.
        box: Where it stands or stood, in pixels of the original frame.
        stood_s: For how long it has stood, or had.
    """

    zone: str
    phase: Literal["left", "removed"]
    label: str
    track_id: int
    box: Box
    stood_s: float
