"""What is kept on the box of events, and for how long: what sections of a stream have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgehaul.config.section import Section

Occasion = Literal["track", "count", "zone", "occupancy", "queue", "dock", "object"]
OCCASIONS: tuple[Occasion, ...] = ("count", "zone", "dock", "object")


class KeepingSection(Section, frozen=True, kw_only=True):
    """Which events something is kept of, and how much.

    Attributes:
        events: Kinds of events; of ``track`` only the beginnings.
        max_mb: Most MiB kept of this stream; the oldest go first.
        max_days: Files are kept for so many days at most.
    """

    events: tuple[Occasion, ...] = OCCASIONS
    max_mb: Annotated[float, Meta(gt=0, le=1e6)] = 256.0
    max_days: Annotated[int, Meta(ge=1, le=3650)] = 7

    def __post_init__(self) -> None:
        """Refuse what would keep nothing."""
        if not self.events:
            raise ValueError("events must not be empty: leave the section out to keep nothing")

    @property
    def max_bytes(self) -> int:
        """Most bytes kept."""
        return int(self.max_mb * 2**20)
