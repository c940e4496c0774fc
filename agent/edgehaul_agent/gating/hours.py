"""The hours in which a camera is watched."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from edgehaul.config.gating import ActiveHours


class HoursGate:
    """Says whether it is one of the hours.

    Args:
        hours: They; none at all is always.
        timezone: Whose wall clock is meant.
    """

    def __init__(self, hours: tuple[ActiveHours, ...], timezone: str) -> None:
        self._hours = hours
        self._zone = ZoneInfo(timezone) if hours else None

    def opens(self, now_s: float) -> bool:
        """Return whether a camera is watched at a UTC time in seconds."""
        if not self._hours:
            return True
        now = datetime.fromtimestamp(now_s, self._zone)
        minute = now.hour * 60 + now.minute
        return any(hours.holds(now.weekday(), minute) for hours in self._hours)
