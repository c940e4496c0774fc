"""NMEA 0183: sentences among bytes, and what their fields say."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

_SENTENCE: Final = re.compile(
    rb"\$(?P<body>(?!P)[A-Z]{2}(?P<kind>[A-Z]{3}),[^$*\r\n!]*)(?:\*(?P<sum>[0-9A-Fa-f]{2}))?"
)
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d)((?:[0-5]\d|60)(?:\.\d*)?)", re.ASCII)
_DATE: Final = re.compile(r"[0-9]{6}")
_ANGLE: Final = re.compile(r"(\d*?)(\d?\d(?:\.(\d*))?)", re.ASCII)
_FIRST_CENTURY = 80
"""Two-digit years from here on are of the 20th century: GPS began in 1980."""


class Sentence(NamedTuple):
    """One sentence that came whole.

    Attributes:
        kind: Its three letters, such as ``RMC``; the talker before them makes no difference.
        fields: The texts between the commas; the first is the sentence's name.
    """

    kind: str
    fields: list[str]


class Place(NamedTuple):
    """A position, and how finely it is written.

    Attributes:
        latitude_deg: North positive.
        longitude_deg: East positive.
        decimals: Digits after the point of the minutes of latitude.
    """

    latitude_deg: float
    longitude_deg: float
    decimals: int

    def is_near(self, other: Place) -> bool:
        """Return whether two places are the same but for three in the last digit."""
        apart_deg = 3.5 / 60 / 10.0**self.decimals
        return (
            abs(self.latitude_deg - other.latitude_deg) <= apart_deg
            and abs(self.longitude_deg - other.longitude_deg) <= apart_deg
        )


class SentenceScanner:
    """Finds the sentences among bytes, and leaves out those that did not come whole.

    Any talker (GP, GN, GL, GA, ...) is heard. Proprietary sentences (``$P``), those of AIS
    (``!``) and other bytes are passed over.

    Args:
        needs_sum: Whether to leave out every sentence without a checksum. Otherwise one without
            is left out as cut off only after one with a right checksum was seen.

    Attributes:
        whole: Sentences that were found whole.
        damaged: Sentences with a wrong checksum or without the one they need.
    """

    def __init__(self, *, needs_sum: bool = False) -> None:
        self.whole = 0
        self.damaged = 0
        self._needs_sum = needs_sum

    def found(self, data: bytes) -> Iterator[Sentence]:
        """Yield the whole sentences of ``data``, in which none may be cut off at the end."""
        for match in _SENTENCE.finditer(data):
            if not self._is_whole(match):
                self.damaged += 1
                continue
            self.whole += 1
            # What is no ASCII becomes a character that no field can hold.
            body = match["body"].decode("ascii", errors="replace")
            yield Sentence(match["kind"].decode("ascii"), body.split(","))

    def _is_whole(self, match: re.Match[bytes]) -> bool:
        given = match["sum"]
        if given is None:
            return not self._needs_sum
        right = functools.reduce(operator.xor, match["body"]) == int(given, 16)
        self._needs_sum |= right
        return right


def time_of_day_s(text: str) -> float:
    """Return the seconds since midnight of ``hhmmss.ss``.

    A leap second is 60 and has the seconds of the one after it, as POSIX time has none of its own.
    Receivers that round 59.9996 up write 60 at any minute, and mean the same.

    Raises:
        ValueError: This is no time of day.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time of day")
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0 + float(match[3])


def date_of(text: str) -> date | None:
    """Return the date of ``ddmmyy``; None where the receiver does not know it yet.

    Raises:
        ValueError: This is no date.
    """
    if not text:
        return None
    if _DATE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no date")
    year = int(text[4:6])
    return date((1900 if year >= _FIRST_CENTURY else 2000) + year, int(text[2:4]), int(text[:2]))


def midnight_s(day: date) -> float:
    """Return the UTC seconds since 1970 at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def place_of(fields: Sequence[str]) -> Place:
    """Return the position of ``ddmm.mmm,N,dddmm.mmm,E``.

    Raises:
        ValueError: This is no position.
    """
    latitude_deg, decimals = _angle_deg(fields[0], fields[1], "NS", 90.0)
    longitude_deg, _ = _angle_deg(fields[2], fields[3], "EW", 180.0)
    return Place(latitude_deg, longitude_deg, decimals)


def _angle_deg(text: str, side: str, sides: str, limit_deg: float) -> tuple[float, int]:
    match = _ANGLE.fullmatch(text)
    if match is None or not side or side not in sides:
        raise ValueError(f"{text},{side} is no angle")
    degrees, minutes = int(match[1] or "0"), float(match[2])
    angle_deg = degrees + minutes / 60.0
    if not (minutes < 60 and angle_deg <= limit_deg):  # noqa: PLR2004 - minutes of a degree
        raise ValueError(f"{text},{side} is no angle")
    return -angle_deg if side == sides[1] else angle_deg, len(match[3] or "")


def number_of(text: str, factor: float = 1.0) -> float | None:
    """Return a number times ``factor``; None for an empty text.

    Raises:
        ValueError: This is no finite number.
    """
    if not text.strip():
        return None
    value = float(text) * factor
    if not math.isfinite(value) or "_" in text:
        raise ValueError(f"{text!r} is no number")
    return value


def heading_of(text: str) -> float | None:
    """Return a course in 0..360 degrees; None for an empty text.

    Raises:
        ValueError: This is no finite number.
    """
    value = number_of(text)
    return None if value is None else value % 360
