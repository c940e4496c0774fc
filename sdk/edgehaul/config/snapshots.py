"""Pictures of what happened, kept on the box: a section of a stream in ``device.yaml``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgehaul.config.keeping import KeepingSection


class SnapshotSection(KeepingSection, frozen=True, kw_only=True):
    """Which events have a picture, and how many pictures are kept.

    Attributes:
        events: Kinds of events; of ``track`` only the beginnings.
        padding: Part of the object's width and height that is added on each side; none keeps the
            whole picture, as do events that are of no single object.
        quality: Of the JPEG files.
        max_mb: Most MiB kept of this stream; the oldest go first.
        max_days: Pictures are kept for so many days at most.
    """

    padding: Annotated[float, Meta(ge=0, le=10)] | None = 0.5
    quality: Annotated[int, Meta(ge=1, le=100)] = 85
