"""Pictures of what happened, kept on the box: a section of a stream in ``device.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.section import Section

Occasion = Literal["track", "count", "zone", "occupancy", "queue", "dock", "object"]
OCCASIONS: tuple[Occasion, ...] = ("count", "zone", "dock", "object")


class SnapshotSection(Section, frozen=True, kw_only=True):
    """Which events have a picture, and how many pictures are kept.

    Attributes:
        events: Kinds of events; of ``track`` only the beginnings.
        padding: Part of the object's width and height that is added on each side; none keeps the
            whole picture, as do events that are of no single object.
        quality: Of the JPEG files.
        max_mb: Most MiB kept of this stream; the oldest go first.
        max_days: Pictures are kept for so many days at most.
    """

    events: tuple[Occasion, ...] = OCCASIONS
    padding: Annotated[float, Meta(ge=0, le=10)] | None = 0.5
    quality: Annotated[int, Meta(ge=1, le=100)] = 85
    max_mb: Annotated[float, Meta(gt=0, le=1e6)] = 256.0
    max_days: Annotated[int, Meta(ge=1, le=3650)] = 7

    def __post_init__(self) -> None:
        """Refuse pictures of nothing."""
        if not self.events:
            raise ValueError("events must not be empty: leave the section out for no pictures")

    @property
    def max_bytes(self) -> int:
        """Most bytes kept."""
        return int(self.max_mb * 2**20)
