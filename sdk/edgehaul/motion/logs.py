"""Fixes from the records of other programs: Traccar and OsmAnd."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DataError
from edgehaul.motion.fields import KNOTS_TO_MPS, Rejections, fix_of
from edgehaul.motion.tracks import OwnedFix
from edgehaul.values import Fix

_QUERY: Final = re.compile(r"[?&\s\"]((?:[A-Za-z_]+=[^&\s\"]*&?)+)")
_OSMAND: Final = {
    "timestamp": "time",
    "time": "time",
    "lat": "latitude_deg",
    "latitude": "latitude_deg",
    "lon": "longitude_deg",
    "lng": "longitude_deg",
    "longitude": "longitude_deg",
    "speed": "speed_mps",
    "bearing": "heading_deg",
    "heading": "heading_deg",
    "course": "heading_deg",
    "altitude": "altitude_m",
    # OsmAnd writes its accuracy in metres under this name; Traccar's client has its own.
    "hdop": "accuracy_m",
    "accuracy": "accuracy_m",
    "id": "vehicle",
    "deviceid": "vehicle",
}
_TRACCAR: Final = {
    "latitude_deg": "latitude",
    "longitude_deg": "longitude",
    "speed_mps": "speed",
    "heading_deg": "course",
    "altitude_m": "altitude",
    "accuracy_m": "accuracy",
}


def read_traccar(content: bytes, rejections: Rejections, where: str) -> list[OwnedFix]:
    """Read positions as Traccar's API returns them (``/api/positions``, ``/api/reports/route``).

    Args:
        content: A JSON list, or an object with the list under ``positions``.
        rejections: Told of positions that Traccar calls invalid, and of unreadable ones.
        where: The file, for errors.

    Raises:
        DataError: This is no such list.
    """
    try:
        decoded = msgspec.json.decode(content)
    except UNREADABLE_JSON as error:
        raise DataError(
            f"this is no JSON: {error}", where=where, remedy="export it again"
        ) from error
    positions = decoded.get("positions") if isinstance(decoded, dict) else decoded
    if not isinstance(positions, list):
        raise DataError(
            "this is no list of positions", where=where, remedy="export /api/reports/route"
        )
    fixes = []
    for number, position in enumerate(positions):
        place = f"{where}: position {number}"
        if not isinstance(position, dict) or position.get("valid") is False:
            rejections.add("the receiver had no position", where=place)
            continue
        fix = _traccar_fix(position, rejections, place)
        device = position.get("deviceId")
        fixes += [OwnedFix(fix, "" if device is None else str(device))] if fix else []
    return fixes


def _traccar_fix(position: Mapping[str, Any], rejections: Rejections, place: str) -> Fix | None:
    fields = {f: str(position[n]) for f, n in _TRACCAR.items() if position.get(n) is not None}
    time = position.get("fixTime") or position.get("deviceTime")
    if time is not None:
        fields["time"] = str(time)
    # Traccar writes 0 where the device gave no accuracy.
    if position.get("accuracy") == 0:
        del fields["accuracy_m"]
    try:
        return fix_of(fields, {"speed_mps": KNOTS_TO_MPS})
    except ValueError as error:
        rejections.add(str(error), where=place)
        return None


def read_osmand(lines: Iterable[str], rejections: Rejections, where: str) -> list[OwnedFix]:
    """Read the requests of OsmAnd's live tracking, one a line, such as a web server logs them.

    OsmAnd's ``speed`` is in m/s and its ``hdop`` is its accuracy in metres. Lines without
    ``lat=`` are passed over.
    """
    fixes = []
    for number, line in enumerate(lines, start=1):
        match = _QUERY.search(f"?{line}" if line[:1].isalpha() and "?" not in line else line)
        if match is None or "lat" not in line:
            continue
        pairs = parse_qsl(match[1])
        fields = {_OSMAND[key]: text for key, text in pairs if key in _OSMAND}
        fix = rejections.fix(fields, f"{where}:{number}")
        fixes += [OwnedFix(fix, fields.get("vehicle", ""))] if fix else []
    return fixes
