"""Fixes from the sentences of a receiver (NMEA 0183: RMC, GGA, GLL, VTG, GST, ZDA)."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from edgehaul.motion.fields import KMH_TO_MPS, KNOTS_TO_MPS
from edgehaul.motion.table import METRES_PER_HDOP
from edgehaul.values import Fix

_DAY_S = 86_400.0
_PENDING = 3600
"""So many fixes wait for the first sentence with a date."""
_SENTENCE: Final = re.compile(
    rb"\$(?P<body>(?!P)[A-Z]{2}(?P<kind>[A-Z]{3}),[^$*\r\n!]*)(?:\*(?P<sum>[0-9A-Fa-f]{2}))?"
)
_SAME_S = 1e-4
"""Times closer than this are one moment: receivers write hundredths or thousandths."""
_NO_HDOP = 99
"""What receivers write for a dilution that they do not know."""
_FIRST_CENTURY = 80
"""Two-digit years from here on are of the 20th century: GPS began in 1980."""


@dataclass
class _Epoch:
    """What the sentences of one moment have said so far."""

    time_of_day_s: float
    valid: bool = True
    latitude_deg: float | None = None
    longitude_deg: float | None = None
    speed_mps: float | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    accuracy_m: float | None = None
    accuracy_is_measured: bool = False


class NmeaReader:
    """Puts the sentences of one receiver together, one fix for each moment.

    Sentences of one moment carry the same time; a fix is known once the next moment begins.
    GGA, GLL and GST carry no date: the last RMC or ZDA gives it, and midnight is noticed.
    Fixes from before the first date wait for it. Any talker (GP, GN, GL, GA, ...) is heard;
    bytes between the sentences and other sentences are passed over.

    Attributes:
        rejected: Sentences with a wrong checksum or an unreadable field. Once one had a
            checksum, one without is cut off.
    """

    def __init__(self) -> None:
        self.rejected = 0
        self._sums_seen = False
        self._epoch: _Epoch | None = None
        self._date: date | None = None
        self._last_s: float | None = None
        self._waiting: list[_Epoch] = []
        self._ready: list[Fix] = []

    @property
    def undated(self) -> int:
        """Number of fixes that wait for a date."""
        return len(self._waiting)

    def push(self, data: bytes) -> list[Fix]:
        """Take whole lines and return the fixes that they complete."""
        for match in _SENTENCE.finditer(data):
            if not self._is_whole(match):
                self.rejected += 1
                continue
            parser = _PARSERS.get(match["kind"].decode("ascii"))
            if parser is None:
                continue
            try:
                parser(self, match["body"].decode("ascii").split(","))
            except (ValueError, IndexError):
                # UnicodeDecodeError is a ValueError: bytes that no receiver writes.
                self.rejected += 1
        return self._taken()

    def flush(self) -> list[Fix]:
        """Return the fix of the last moment, at the end of a recording."""
        self._close()
        return self._taken()

    def _taken(self) -> list[Fix]:
        fixes, self._ready = self._ready, []
        return fixes

    def _is_whole(self, match: re.Match[bytes]) -> bool:
        given = match["sum"]
        if given is None:
            return not self._sums_seen
        right = functools.reduce(operator.xor, match["body"]) == int(given, 16)
        self._sums_seen |= right
        return right

    def _begin(self, time_s: float) -> _Epoch:
        """Return the moment that a sentence is about; the one before it is over then."""
        epoch = self._epoch
        if epoch is None or abs(epoch.time_of_day_s - time_s) > _SAME_S:
            self._close()
            epoch = self._epoch = _Epoch(time_s)
        return epoch

    def _close(self) -> None:
        """Make ready the fix of the moment that is over, and those that waited for its date."""
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return
        self._pass_midnight(epoch.time_of_day_s)
        has_place = epoch.latitude_deg is not None and epoch.longitude_deg is not None
        if not (epoch.valid and has_place):
            return
        if self._date is None:
            self._waiting = [*self._waiting, epoch][-_PENDING:]
            return
        fixes = [*self._dated_waiting(epoch), _fix(epoch, self._date)]
        self._ready += [fix for fix in fixes if fix is not None]

    def _pass_midnight(self, time_of_day_s: float) -> None:
        before, self._last_s = self._last_s, time_of_day_s
        if self._date is not None and before is not None and before - time_of_day_s > _DAY_S / 2:
            self._date += timedelta(days=1)

    def _dated_waiting(self, first_dated: _Epoch) -> list[Fix | None]:
        """Return the fixes from before the first date, counting midnights backwards."""
        day, after_s, fixes = self._date, first_dated.time_of_day_s, []
        for epoch in reversed(self._waiting):
            if day is not None and epoch.time_of_day_s - after_s > _DAY_S / 2:
                day -= timedelta(days=1)
            after_s = epoch.time_of_day_s
            fixes.append(_fix(epoch, day))
        self._waiting.clear()
        return fixes[::-1]

    def _set_date(self, day: date, epoch: _Epoch) -> None:
        self._date = day
        # The date holds for this very moment: no midnight lies between.
        self._last_s = epoch.time_of_day_s

    # All fields are read before the first is believed: a sentence is whole or of no use.

    def _rmc(self, fields: list[str]) -> None:
        """Take ``time,status,lat,N,lon,E,knots,course,date``."""
        if not fields[1]:
            return
        time_s = _time_of_day_s(fields[1])
        if fields[2] != "A":
            self._begin(time_s).valid = False
            return
        place, day = _place(fields[3:7]), _date(fields[9])
        speed_mps, heading_deg = _scaled(fields[7], KNOTS_TO_MPS), _heading(fields[8])
        epoch = self._begin(time_s)
        epoch.latitude_deg, epoch.longitude_deg = place
        epoch.speed_mps, epoch.heading_deg = speed_mps, heading_deg
        if day is not None:
            self._set_date(day, epoch)

    def _gga(self, fields: list[str]) -> None:
        """Take ``time,lat,N,lon,E,quality,satellites,hdop,altitude``."""
        if not fields[1]:
            return
        time_s = _time_of_day_s(fields[1])
        if fields[6] in {"", "0"}:
            self._begin(time_s).valid = False
            return
        place, altitude_m = _place(fields[2:6]), _scaled(fields[9], 1.0)
        hdop = _scaled(fields[8], 1.0)
        epoch = self._begin(time_s)
        epoch.latitude_deg, epoch.longitude_deg = place
        epoch.altitude_m = altitude_m
        if not epoch.accuracy_is_measured and hdop is not None and 0 < hdop < _NO_HDOP:
            epoch.accuracy_m = hdop * METRES_PER_HDOP

    def _gll(self, fields: list[str]) -> None:
        """Take ``lat,N,lon,E,time,status``."""
        if not fields[5]:
            return
        time_s, is_valid = _time_of_day_s(fields[5]), fields[6] == "A"
        place = _place(fields[1:5]) if is_valid else None
        epoch = self._begin(time_s)
        epoch.valid &= is_valid
        if place is not None and epoch.latitude_deg is None:
            epoch.latitude_deg, epoch.longitude_deg = place

    def _vtg(self, fields: list[str]) -> None:
        """Take ``course,T,magnetic,M,knots,N,kmh,K``; it carries no time of its own."""
        speed_mps, heading_deg = _scaled(fields[5], KNOTS_TO_MPS), _heading(fields[1])
        if speed_mps is None:
            speed_mps = _scaled(fields[7], KMH_TO_MPS)
        if self._epoch is None:
            return
        if self._epoch.speed_mps is None:
            self._epoch.speed_mps = speed_mps
        if self._epoch.heading_deg is None:
            self._epoch.heading_deg = heading_deg

    def _gst(self, fields: list[str]) -> None:
        """Take ``time,rms,major,minor,orientation,lat sigma,lon sigma``."""
        north_m, east_m = _scaled(fields[6], 1.0), _scaled(fields[7], 1.0)
        if fields[1] and north_m is not None and east_m is not None:
            epoch = self._begin(_time_of_day_s(fields[1]))
            epoch.accuracy_m = math.hypot(north_m, east_m) / math.sqrt(2)
            epoch.accuracy_is_measured = True

    def _zda(self, fields: list[str]) -> None:
        """Take ``time,day,month,year``."""
        if all(fields[1:5]):
            day = date(int(fields[4]), int(fields[3]), int(fields[2]))
            self._set_date(day, self._begin(_time_of_day_s(fields[1])))


_PARSERS: Final[dict[str, Callable[[NmeaReader, list[str]], None]]] = {
    "RMC": NmeaReader._rmc,  # noqa: SLF001 - the class's own table
    "GGA": NmeaReader._gga,  # noqa: SLF001 - the class's own table
    "GLL": NmeaReader._gll,  # noqa: SLF001 - the class's own table
    "VTG": NmeaReader._vtg,  # noqa: SLF001 - the class's own table
    "GST": NmeaReader._gst,  # noqa: SLF001 - the class's own table
    "ZDA": NmeaReader._zda,  # noqa: SLF001 - the class's own table
}


def _fix(epoch: _Epoch, day: date | None) -> Fix | None:
    if day is None or epoch.latitude_deg is None or epoch.longitude_deg is None:
        return None
    midnight_s = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    return Fix(
        captured_at_s=midnight_s + epoch.time_of_day_s,
        latitude_deg=epoch.latitude_deg,
        longitude_deg=epoch.longitude_deg,
        speed_mps=epoch.speed_mps,
        heading_deg=epoch.heading_deg,
        altitude_m=epoch.altitude_m,
        accuracy_m=epoch.accuracy_m,
    )


def _time_of_day_s(text: str) -> float:
    """Return the seconds since midnight of ``hhmmss.ss``; a leap second is 60."""
    hours, minutes, seconds = int(text[:2]), int(text[2:4]), float(text[4:])
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= seconds < 61):  # noqa: PLR2004 - a clock
        raise ValueError(f"{text!r} is no time of day")
    return hours * 3600.0 + minutes * 60.0 + seconds


def _date(text: str) -> date | None:
    """Return the date of ``ddmmyy``; None where the receiver does not know it yet."""
    if not text:
        return None
    year = int(text[4:6])
    return date((1900 if year >= _FIRST_CENTURY else 2000) + year, int(text[2:4]), int(text[:2]))


def _place(fields: list[str]) -> tuple[float, float]:
    """Return latitude and longitude of ``ddmm.mmm,N,dddmm.mmm,E`` in degrees."""
    return (
        _angle_deg(fields[0], fields[1], "NS", 90.0),
        _angle_deg(fields[2], fields[3], "EW", 180.0),
    )


def _angle_deg(text: str, side: str, sides: str, limit_deg: float) -> float:
    point = text.find(".") if "." in text else len(text)
    degrees, minutes = int(text[: point - 2] or "0"), float(text[point - 2 :])
    angle_deg = degrees + minutes / 60.0
    if side not in sides or not side or not (0 <= minutes < 60 and angle_deg <= limit_deg):  # noqa: PLR2004 - of a degree
        raise ValueError(f"{text},{side} is no angle")
    return -angle_deg if side == sides[1] else angle_deg


def _scaled(text: str, factor: float) -> float | None:
    if not text.strip():
        return None
    value = float(text) * factor
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def _heading(text: str) -> float | None:
    value = _scaled(text, 1.0)
    return None if value is None else value % 360
