"""Which events something is kept of, and under which name."""

from __future__ import annotations

import itertools

from edgehaul.clock import format_utc
from edgehaul.config.keeping import KeepingSection
from edgehaul.messages.payloads import CameraEvent, TrackEvent


class Occasions:
    """Chooses the events of one stream, and names their files.

    Args:
        section: Says which.
        suffix: How names end.
    """

    def __init__(self, section: KeepingSection, suffix: str) -> None:
        self._events = section.events
        self._suffix = suffix
        self._numbers = itertools.count()

    def include(self, event: CameraEvent) -> bool:
        """Return whether there shall be a file of an event."""
        if isinstance(event, TrackEvent) and event.phase != "new":
            return False
        return event.__struct_config__.tag in self._events

    def path(self, event: CameraEvent, captured_at_s: float) -> str:
        """Return a new ``{date}/{time}-{kind}-{number}{suffix}`` for an event."""
        day, time = format_utc(captured_at_s).rstrip("Z").split("T")
        number = next(self._numbers) % 10_000
        kind = event.__struct_config__.tag
        return f"{day}/{time.replace(':', '')}-{kind}-{number:04d}{self._suffix}"
