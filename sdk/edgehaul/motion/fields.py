"""The texts of one fix, checked: what all readers of traces share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo

from edgehaul.clock import is_time
from edgehaul.errors import DataError
from edgehaul.values import Fix

KMH_TO_MPS = 1 / 3.6
KNOTS_TO_MPS = 1852 / 3600
_MILLISECONDS_FROM = 1e11
"""A numeric time from here on is in milliseconds: as seconds it would be the year 5138."""
_LARGEST_HEADING_DEG = 3600.0
REQUIRED = ("time", "latitude_deg", "longitude_deg")
OWNERS = ("vehicle", "trip")
"""Fields that say whose a fix is, and are no part of it."""


@dataclass
class Rejections:
    """What a reader could not use of a file.

    Attributes:
        strict: Raise the first fault instead of counting it.
        count: Number of damaged lines, rows or points.
        faults: The first of them, one line each.
        left_out: Every file that was left out whole, and why.
    """

    strict: bool = False
    count: int = 0
    faults: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    _KEPT = 20
    _KEPT_OF_ONE_FILE = 3

    def add(self, message: str, *, where: str) -> None:
        """Count one fault.

        Raises:
            DataError: Faults are not to be counted but raised.
        """
        if self.strict:
            raise DataError(message, where=where, remedy="correct or delete this row")
        self.count += 1
        if len(self.faults) < self._KEPT:
            self.faults.append(f"{where}: {message}")

    def leave_out(self, message: str, *, where: str) -> None:
        """Note a file that is left out whole."""
        self.left_out.append(f"{where}: {message}")

    def include(self, count: int, faults: Sequence[str]) -> None:
        """Add the faults of one file; of its lines only three, so that all files have room."""
        self.count += count
        self.faults += faults[: self._KEPT_OF_ONE_FILE]

    def fix(self, fields: Mapping[str, str], where: str) -> Fix | None:
        """Return the fix of these texts as :func:`fix_of` does, or count why there is none."""
        try:
            return fix_of(fields)
        except ValueError as error:
            self.add(str(error), where=where)
            return None


def fix_of(
    fields: Mapping[str, str],
    factors: Mapping[str, float] | None = None,
    *,
    zone: tzinfo | None = None,
) -> Fix:
    """Return the fix of these texts.

    A speed below 0 or a heading of -1 means that the receiver did not know it; so does a
    text that is empty or ``nan``, except for time and place.

    Args:
        fields: Texts by the names of :class:`edgehaul.values.Fix`, and ``time``; ``vehicle``
            and ``trip`` are passed over.
        factors: By what to multiply a field.
        zone: Where times without an offset are from; UTC without one.

    Raises:
        ValueError: A text is no number, or outside its range.
    """
    factors = factors or {}
    time_s = time_of(_required(fields, "time"), factors.get("time"), zone)
    latitude_deg = _within(_required(fields, "latitude_deg"), 90.0, "latitude")
    longitude_deg = _within(_required(fields, "longitude_deg"), 180.0, "longitude")
    numbers = {
        name: value * factors.get(name, 1.0)
        for name, text in fields.items()
        if name not in {*REQUIRED, *OWNERS} and (value := _optional(text, name)) is not None
    }
    speed_mps, heading_deg = numbers.get("speed_mps"), numbers.get("heading_deg")
    accuracy_m = numbers.get("accuracy_m")
    known = (
        heading_deg is not None and heading_deg != -1 and abs(heading_deg) < _LARGEST_HEADING_DEG
    )
    return Fix(
        captured_at_s=time_s,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        speed_mps=speed_mps if speed_mps is not None and speed_mps >= 0 else None,
        heading_deg=heading_deg % 360 if known and heading_deg is not None else None,
        altitude_m=numbers.get("altitude_m"),
        accuracy_m=accuracy_m if accuracy_m is not None and accuracy_m >= 0 else None,
    )


def time_of(text: str, factor: float | None = None, zone: tzinfo | None = None) -> float:
    """Return UTC seconds since 1970 of a number or an RFC 3339 time.

    Args:
        text: Seconds or milliseconds since 1970, or a time; a blank may stand for the T.
        factor: Seconds of one unit of a number; without it, large ones are milliseconds.
        zone: Where a time without an offset is from; UTC without one.

    Raises:
        ValueError: The text is no time, or outside the years 1 to 9999.
    """
    try:
        number = float(text)
    except ValueError:
        return _moment_s(text, zone or UTC)
    if factor is None:
        factor = 1e-3 if abs(number) >= _MILLISECONDS_FROM else 1.0
    if not is_time(number * factor):
        raise ValueError(f"time {text!r} is no time")
    # A division is exact where a product with 0.001 is not.
    return number / round(1 / factor) if factor < 1 else number * factor


def _moment_s(text: str, zone: tzinfo) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time {text!r} is no time such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        time_s = moment.timestamp()
    except (OverflowError, ValueError):
        time_s = math.inf
    if not is_time(time_s):
        raise ValueError(f"time {text!r} is outside the years 1 to 9999")
    return time_s


def _required(fields: Mapping[str, str], name: str) -> str:
    text = fields.get(name, "").strip()
    if not text:
        raise ValueError(f"this point has no {name}")
    return text


def _optional(text: str, name: str) -> float | None:
    stripped = text.strip()
    if not stripped or stripped.lower() in {"nan", "null", "none"}:
        return None
    return _finite(stripped, name)


def _finite(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} {text!r} is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} {text!r} is no number")
    return value


def _within(text: str, limit_deg: float, name: str) -> float:
    value = _finite(text, name)
    if abs(value) > limit_deg:
        raise ValueError(f"{name} {text} is outside -{limit_deg:g}..{limit_deg:g} degrees")
    return value
