"""Time as an injected dependency: UTC for records, monotonic for durations."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

FIRST_TIME_S = -62_135_596_800.0
LAST_TIME_S = 253_402_300_799.0


class Clock(Protocol):
    """What EdgeHaul needs of a clock; tests inject a fake one."""

    def now_s(self) -> float:
        """Return the UTC time in seconds since 1970."""
        ...

    def monotonic_s(self) -> float:
        """Return a time that never goes back, for durations."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        """Return the UTC time in seconds since 1970."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return a time that never goes back, for durations."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds."""
        time.sleep(duration_s)


def is_time(time_s: float) -> bool:
    """Return whether :func:`format_utc` can write this time: the years 1 to 9999."""
    return FIRST_TIME_S <= time_s <= LAST_TIME_S


def format_utc(time_s: float) -> str:
    """Return ``time_s`` (seconds since 1970) as RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(round(time_s, 3), tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_utc(text: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time.

    Raises:
        ValueError: The text is no time, or names no offset from UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no offset from UTC; write 2026-01-31T12:00:00Z")
    return moment.timestamp()
