"""Whose fixes these are: a file may hold those of several vehicles, and of several trips of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgehaul.errors import DataError
from edgehaul.motion.fields import Rejections
from edgehaul.values import Fix

_SHOWN = 5


class OwnedFix(NamedTuple):
    """A fix, and whose it is as far as the file says so.

    Attributes:
        fix: The fix.
        vehicle: Name of the vehicle or the device; empty where none is given.
        trip: Name of the trip; empty where none is given.
    """

    fix: Fix
    vehicle: str = ""
    trip: str = ""


@dataclass(frozen=True)
class Track:
    """The fixes of one vehicle on one trip.

    Attributes:
        vehicle: Name of the vehicle or the device; empty where the file gives none.
        trip: Name of the trip; empty where the file gives none.
        fixes: Sorted by time.
    """

    vehicle: str
    trip: str
    fixes: tuple[Fix, ...]


def tracks_of(owned: Iterable[OwnedFix], rejections: Rejections, where: str) -> tuple[Track, ...]:
    """Return the tracks of a file, sorted by vehicle and trip.

    Fixes without a vehicle are those of the only one that is named. Where several are, nobody
    knows whose they are, and they are left out.

    Args:
        owned: The fixes of the file.
        rejections: Told of the fixes that are left out.
        where: The file, for the fault.
    """
    found: dict[tuple[str, str], list[Fix]] = defaultdict(list)
    for fix, vehicle, trip in owned:
        found[vehicle, trip].append(fix)
    named = sorted({vehicle for vehicle, _ in found if vehicle})
    if named:
        for vehicle, trip in [key for key in found if not key[0]]:
            nobodys = found.pop((vehicle, trip))
            if len(named) == 1:
                found[named[0], trip] += nobodys
                continue
            for _ in nobodys:
                rejections.add("a position names no vehicle, and others do", where=where)
    return tuple(
        Track(*key, tuple(sorted(fixes, key=lambda fix: fix.captured_at_s)))
        for key, fixes in sorted(found.items())
    )


def fixes_of_one(tracks: Sequence[Track], where: str) -> tuple[Fix, ...]:
    """Return the fixes of all trips of the only vehicle, sorted by time.

    Raises:
        DataError: There are several vehicles: as one trace they would jump between them.
    """
    vehicles = sorted({track.vehicle for track in tracks})
    if len(vehicles) > 1:
        more = ", ..." if len(vehicles) > _SHOWN else ""
        raise DataError(
            f"positions of {len(vehicles)} devices: {', '.join(vehicles[:_SHOWN])}{more}",
            where=where,
            remedy="export one file for each device, or make a trip of each with "
            "`edgehaul data import`",
        )
    fixes = [fix for track in tracks for fix in track.fixes]
    return tuple(sorted(fixes, key=lambda fix: fix.captured_at_s))
