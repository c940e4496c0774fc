"""Which frames of a camera are looked at: sections of a stream in ``device.yaml``."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from edgehaul.config.section import Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MIN = 24 * 60
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class MotionSection(Section, frozen=True, kw_only=True):
    """Look only while something moves.

    Attributes:
        threshold: Difference of brightness (0..255) from the mean of the last pictures from which
            a cell has changed; cells are of 4x4 pixels of the model's input, or 80 to 160 to its
            longer side where that is 640 or more.
        least_part: Part of the picture's cells that must have changed; two at the least.
        hold_s: How long after the last motion frames are looked at.
        look_every_s: A frame is looked at so often even where nothing moves.
    """

    threshold: Annotated[int, Meta(ge=1, le=255)] = 12
    least_part: Annotated[float, Meta(gt=0, le=1)] = 0.0005
    hold_s: Annotated[float, Meta(ge=0, le=3600)] = 1.0
    look_every_s: Annotated[float, Meta(gt=0, le=86_400)] = 10.0


class ActiveHours(Section, frozen=True, kw_only=True):
    """A span of the day in which a camera is watched.

    Attributes:
        start: ``HH:MM`` of the wall clock.
        end: The same, exclusive; not later than ``start`` means on the next day.
        days: Days on which it starts.
    """

    start: str
    end: str
    days: tuple[Weekday, ...] = WEEKDAYS

    def __post_init__(self) -> None:
        """Refuse what is no time of day, and a span without days."""
        for name in ("start", "end"):
            if not _TIME.fullmatch(getattr(self, name)):
                raise ValueError(f"{name} {getattr(self, name)!r}: give a time such as '06:30'")
        if not self.days:
            raise ValueError("days must not be empty: leave the key out for every day")

    def holds(self, weekday: int, minute: int) -> bool:
        """Return whether a moment is within.

        Args:
            weekday: From 0 for Monday.
            minute: Of the day, from 0.
        """
        start, end = _minute(self.start), _minute(self.end)
        if end > start:
            return self._starts_on(weekday) and start <= minute < end
        late = self._starts_on(weekday) and minute >= start
        return late or (self._starts_on((weekday - 1) % 7) and minute < end)

    def _starts_on(self, weekday: int) -> bool:
        return WEEKDAYS[weekday] in self.days


class Region(msgspec.Struct, frozen=True, array_like=True):
    """The part of the picture that is looked at, ``[x1, y1, x2, y2]`` in pixels."""

    x1: Annotated[int, Meta(ge=0)]
    y1: Annotated[int, Meta(ge=0)]
    x2: Annotated[int, Meta(ge=1)]
    y2: Annotated[int, Meta(ge=1)]

    def __post_init__(self) -> None:
        """Refuse an empty one."""
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError("x2 must be right of x1, and y2 below y1")

    def within(self, width: int, height: int) -> Self | None:
        """Return the part inside a picture; none where nothing is."""
        x2, y2 = min(self.x2, width), min(self.y2, height)
        return type(self)(self.x1, self.y1, x2, y2) if x2 > self.x1 and y2 > self.y1 else None


def require_timezone(name: str) -> None:
    """Refuse the name of a time zone that this machine does not know.

    Raises:
        ValueError: It is unknown.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"timezone {name!r} is not known here: give a name such as 'Europe/Rotterdam', and "
            "install tzdata where the machine has none"
        ) from error


def _minute(text: str) -> int:
    hours, minutes = text.split(":")
    return min(int(hours) * 60 + int(minutes), _DAY_MIN)
