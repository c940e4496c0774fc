"""Fixes from the reports of gpsd: its JSON, live or as ``gpspipe -w`` records it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.motion.fields import Rejections, fix_of
from edgehaul.motion.tracks import OwnedFix
from edgehaul.values import Fix

_LEAST_MODE = 2
"""gpsd's mode of a fix without altitude."""
_SIGMAS_OF_EPH = 2.0
"""gpsd's errors are meant to hold in 95 of 100 cases; ours is one sigma."""

Report = dict[str, Any]
"""One JSON object of gpsd; what kind it is says its ``class``."""


def report_of(line: bytes | str) -> Report:
    """Return the report in one line.

    Raises:
        ValueError: It is no JSON object.
    """
    try:
        return msgspec.json.decode(line, type=Report)
    except UNREADABLE_JSON as error:
        raise ValueError(f"this is no report: {error}") from error


def fix_of_report(report: Mapping[str, Any]) -> Fix | None:
    """Return the fix of a report; None of one that is no TPV, or lacks position or time.

    A receiver starts with such: gpsd gives no time before it knows the date.

    Raises:
        ValueError: A value is no number, or outside its range.
    """
    return fix_of(_fields(report)) if _is_position(report) else None


def read_gpsd(lines: Iterable[str], rejections: Rejections, where: str) -> list[OwnedFix]:
    """Read the TPV reports of ``gpspipe -w``; lines that are no JSON objects are passed over."""
    fixes = []
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("{"):
            continue
        try:
            fix = fix_of_report(report_of(line))
        except ValueError as error:
            rejections.add(str(error), where=f"{where}:{number}")
            continue
        fixes += [OwnedFix(fix)] if fix else []
    return fixes


def _is_position(report: Mapping[str, Any]) -> bool:
    mode = report.get("mode")
    return (
        report.get("class") == "TPV"
        and isinstance(mode, int)
        and mode >= _LEAST_MODE
        and all(report.get(name) is not None for name in ("time", "lat", "lon"))
    )


def _fields(report: Mapping[str, Any]) -> dict[str, str]:
    given = {
        "time": report["time"],
        "latitude_deg": report["lat"],
        "longitude_deg": report["lon"],
        "speed_mps": report.get("speed"),
        "heading_deg": report.get("track"),
        "altitude_m": report.get("altMSL", report.get("alt")),
        "accuracy_m": _accuracy_m(report),
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _accuracy_m(report: Mapping[str, Any]) -> object:
    """Return the horizontal error (1 sigma); what is no number is left for the reader to refuse."""
    error = report.get("eph")
    if error is None:  # gpsd before 3.20 has only these
        east, north = report.get("epx"), report.get("epy")
        if isinstance(east, int | float) and isinstance(north, int | float):
            error = math.hypot(east, north) / math.sqrt(2)
    return error / _SIGMAS_OF_EPH if isinstance(error, int | float) else error
