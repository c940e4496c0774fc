"""Short films of what happened, kept on the box: a section of a stream in ``device.yaml``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgehaul.config.keeping import KeepingSection


class ClipSection(KeepingSection, frozen=True, kw_only=True):
    """Which events have a clip, what it shows, and how many clips are kept.

    Attributes:
        events: Kinds of events; of ``track`` only the beginnings.
        pre_s: Seconds before the event.
        post_s: Seconds after the event, or after the last one of several that lie so close.
        fps: Pictures a second; no more are kept of the stream, so that it costs no more.
        max_edge_px: Longer edge of the clip; larger pictures are made smaller.
        quality: Of the JPEG pictures that wait in memory for an event; the clip is made of them.
        max_s: Longest clip. An event that would prolong it further begins another one.
        buffer_mb: Most MiB of pictures in memory.
        max_mb: Most MiB kept of this stream; the oldest go first.
        max_days: Clips are kept for so many days at most.
    """

    pre_s: Annotated[float, Meta(ge=0, le=60)] = 5.0
    post_s: Annotated[float, Meta(ge=0.5, le=60)] = 5.0
    fps: Annotated[float, Meta(ge=1, le=30)] = 5.0
    max_edge_px: Annotated[int, Meta(ge=64, le=3840)] = 640
    quality: Annotated[int, Meta(ge=1, le=100)] = 85
    max_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    buffer_mb: Annotated[float, Meta(ge=1, le=1024)] = 32.0
    max_mb: Annotated[float, Meta(gt=0, le=1e6)] = 1024.0

    def __post_init__(self) -> None:
        """Refuse clips of nothing, and those that would have to end before they have begun."""
        KeepingSection.__post_init__(self)  # frozen structs have no zero-argument super()
        least_s = 2 * (self.pre_s + self.post_s)
        if self.max_s < least_s:
            # Else a busy line would begin a clip at each event, all with the same pictures.
            raise ValueError(
                f"max_s must be twice pre_s and post_s together at least, {least_s:g}: raise it, "
                "or shorten pre_s and post_s"
            )

    @property
    def buffer_bytes(self) -> int:
        """Most bytes of pictures in memory."""
        return int(self.buffer_mb * 2**20)
