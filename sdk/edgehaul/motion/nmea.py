"""Fixes from the sentences of a receiver (RMC, GGA, GNS, GLL, VTG, GSA, GST, GBS, ZDA)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from typing import Final

from edgehaul.motion.epochs import DAY_S, Epoch, EpochDater
from edgehaul.motion.fields import KMH_TO_MPS, KNOTS_TO_MPS
from edgehaul.motion.sentences import (
    Place,
    SentenceScanner,
    date_of,
    heading_of,
    midnight_s,
    number_of,
    place_of,
    time_of_day_s,
)
from edgehaul.values import Fix

_NO_HDOP = 99
"""What receivers write for a dilution that they do not know."""


class NmeaReader:
    """Puts the sentences of one receiver together, one fix for each moment.

    Sentences of one moment carry the same time, or follow one that does (VTG, GSA). The place is
    the last of those written with the most digits. A fix is known once the next moment begins,
    or at a pause: see :meth:`settle`.

    No fix has an invented date. Most sentences carry a time of day alone; RMC and ZDA carry a
    date, and :class:`edgehaul.motion.epochs.EpochDater` says what follows from it. What a receiver
    gives as the date is taken as it is, be it 1024 weeks wrong: see
    :mod:`edgehaul.motion.rollover`.

    Args:
        needs_sum: As for :class:`edgehaul.motion.sentences.SentenceScanner`.
    """

    def __init__(self, *, needs_sum: bool = False) -> None:
        self._scanner = SentenceScanner(needs_sum=needs_sum)
        self._unreadable = 0
        self._epoch: Epoch | None = None
        self._usual: set[str] | None = None
        self._early: dict[str, tuple[float, float]] = {}
        self._early_date_s: float | None = None
        self._now_s: float | None = None
        self._dater = EpochDater()
        self._takers: Final[dict[str, Callable[[list[str]], None]]] = {
            "RMC": self._rmc,
            "GGA": self._gga,
            "GNS": self._gns,
            "GLL": self._gll,
            "VTG": self._vtg,
            "GSA": self._gsa,
            "GST": self._gst,
            "GBS": self._gbs,
            "ZDA": self._zda,
        }

    @property
    def rejected(self) -> int:
        """Sentences with a wrong checksum, without the one they need, or with a bad field."""
        return self._scanner.damaged + self._unreadable

    @property
    def whole(self) -> int:
        """Sentences that came whole, be they of use or not."""
        return self._scanner.whole

    @property
    def undated(self) -> int:
        """Number of fixes that wait for a date."""
        return self._dater.waiting

    @property
    def given_up(self) -> int:
        """Fixes that waited for a date and cannot be given one any more."""
        return self._dater.given_up

    def push(self, data: bytes, *, heard_at_s: float | None = None) -> list[Fix]:
        """Take whole lines and return the fixes that they complete.

        Args:
            data: The lines.
            heard_at_s: When they came, on a clock that never goes back. Where it is given, a date
                is not carried over an hour without a time of day.
        """
        self._now_s = heard_at_s
        for sentence in self._scanner.found(data):
            take = self._takers.get(sentence.kind)
            if take is None:
                continue
            try:
                take(sentence.fields)
            except (ValueError, IndexError):
                self._unreadable += 1
        return self._dater.taken()

    def settle(self) -> list[Fix]:
        """Return the fix of the moment whose sentences have all come; call it at a pause.

        They have when all are there that came at the moment before. What comes later for the
        same moment makes no second fix.
        """
        epoch, usual = self._epoch, self._usual
        if epoch is None or usual is None or not usual <= epoch.kinds:
            return []
        if epoch.at_s is not None or self._dater.knows_date:
            self._dater.tell(epoch)
        return self._dater.taken()

    def flush(self) -> list[Fix]:
        """Return the fix of the last moment, at the end of a recording or a connection."""
        self._close()
        return self._dater.taken()

    def _begin(self, kind: str, time_s: float, place: Place | None = None) -> Epoch:
        """Return the moment that a sentence is about; the one before it is over then."""
        self._note_time()
        epoch = self._epoch
        if epoch is None or not epoch.is_at(time_s):
            if epoch is not None and place is not None and kind == "GLL":
                epoch.leave_to_next(place)
            self._close()
            epoch = self._epoch = Epoch(time_s)
            self._take_early(epoch)
        epoch.kinds.add(kind)
        if place is not None:
            epoch.put_place(place)
        return epoch

    def _take_early(self, epoch: Epoch) -> None:
        """Give a moment what came before its first place."""
        epoch.take_errors(self._early)
        if self._early_date_s is not None and epoch.is_at(self._early_date_s % DAY_S):
            epoch.at_s = self._early_date_s
        self._early.clear()
        self._early_date_s = None

    def _note_time(self) -> None:
        """Forget the date after a pause in which days may have passed."""
        if self._dater.is_after_pause(self._now_s):
            self._close()
            self._dater.forget()

    def _close(self) -> None:
        """End the moment; its fix is ready unless it has been told at a pause."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            self._usual = epoch.kinds
            self._dater.tell(epoch)

    # All fields are read before the first is believed: a sentence is whole or of no use.

    def _rmc(self, fields: list[str]) -> None:
        """Take ``time,status,lat,N,lon,E,knots,course,date``."""
        if not fields[1]:
            return
        time_s = time_of_day_s(fields[1])
        if fields[2] != "A":
            self._begin("RMC", time_s).valid = False
            return
        place, day = place_of(fields[3:7]), date_of(fields[9])
        speed_mps, heading_deg = number_of(fields[7], KNOTS_TO_MPS), heading_of(fields[8])
        epoch = self._begin("RMC", time_s, place)
        epoch.speed_mps, epoch.heading_deg = speed_mps, heading_deg
        if day is not None:
            epoch.at_s = midnight_s(day) + time_s

    def _gga(self, fields: list[str]) -> None:
        """Take ``time,lat,N,lon,E,quality,satellites,hdop,altitude``."""
        self._height("GGA", fields, is_valid=fields[6] not in {"", "0"})

    def _gns(self, fields: list[str]) -> None:
        """Take ``time,lat,N,lon,E,mode of each system,satellites,hdop,altitude``."""
        self._height("GNS", fields, is_valid=bool(fields[6].strip("N")))

    def _height(self, kind: str, fields: list[str], *, is_valid: bool) -> None:
        if not fields[1]:
            return
        time_s = time_of_day_s(fields[1])
        if not is_valid:
            self._begin(kind, time_s).valid = False
            return
        place, hdop, altitude_m = place_of(fields[2:6]), _hdop(fields[8]), number_of(fields[9])
        epoch = self._begin(kind, time_s, place)
        epoch.altitude_m = altitude_m
        epoch.hdop = hdop or epoch.hdop

    def _gll(self, fields: list[str]) -> None:
        """Take ``lat,N,lon,E,time,status``."""
        if not fields[5]:
            return
        time_s, is_valid = time_of_day_s(fields[5]), fields[6] == "A"
        place = place_of(fields[1:5]) if is_valid else None
        self._begin("GLL", time_s, place).valid &= is_valid

    def _vtg(self, fields: list[str]) -> None:
        """Take ``course,T,magnetic,M,knots,N,kmh,K``; it carries no time of its own."""
        speed_mps, heading_deg = number_of(fields[5], KNOTS_TO_MPS), heading_of(fields[1])
        if speed_mps is None:
            speed_mps = number_of(fields[7], KMH_TO_MPS)
        epoch = self._epoch
        if epoch is None:
            return
        epoch.kinds.add("VTG")
        epoch.speed_mps = speed_mps if epoch.speed_mps is None else epoch.speed_mps
        epoch.heading_deg = heading_deg if epoch.heading_deg is None else epoch.heading_deg

    def _gsa(self, fields: list[str]) -> None:
        """Take ``A,mode,12 satellites,pdop,hdop,vdop``; it carries no time of its own.

        There is one for each system of satellites, and GGA's dilution, of all, is better.
        """
        hdop = _hdop(fields[16])
        if self._epoch is not None:
            self._epoch.kinds.add("GSA")
            self._epoch.hdop = self._epoch.hdop or hdop

    def _gst(self, fields: list[str]) -> None:
        """Take ``time,rms,major,minor,orientation,lat sigma,lon sigma``."""
        self._errors("GST", fields[1], fields[6:8])

    def _gbs(self, fields: list[str]) -> None:
        """Take ``time,lat error,lon error``."""
        self._errors("GBS", fields[1], fields[2:4])

    def _errors(self, kind: str, time: str, sigmas: list[str]) -> None:
        north_m, east_m = (number_of(text) for text in sigmas)
        if not time or north_m is None or east_m is None:
            return
        time_s, measured_m = time_of_day_s(time), math.hypot(north_m, east_m) / math.sqrt(2)
        # It may come before its moment; only a place begins one.
        self._early[kind] = (time_s, measured_m)
        if self._epoch is not None and self._epoch.is_at(time_s):
            self._epoch.take_errors(self._early)

    def _zda(self, fields: list[str]) -> None:
        """Take ``time,day,month,year``; it may come before its moment or after.

        Receivers write it before they know the date. Amid good fixes it is believed for them all,
        else for a fix of the very same moment alone.
        """
        if not all(fields[1:5]):
            return
        time_s = time_of_day_s(fields[1])
        at_s = midnight_s(date(int(fields[4]), int(fields[3]), int(fields[2]))) + time_s
        epoch, self._early_date_s = self._epoch, at_s
        if epoch is not None and epoch.is_at(time_s):
            epoch.at_s = at_s
        if epoch is not None and epoch.is_fix:
            self._note_time()
            self._dater.set_date(at_s)


def _hdop(text: str) -> float | None:
    hdop = number_of(text)
    return hdop if hdop is not None and 0 < hdop < _NO_HDOP else None
