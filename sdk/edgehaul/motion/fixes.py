"""Traces of positions in files: CSV and GPX in, CSV out."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from edgehaul.clock import is_time
from edgehaul.errors import DataError
from edgehaul.motion.gpx import GpxPoint, read_gpx_points
from edgehaul.values import Fix

KMH_TO_MPS = 1 / 3.6
KNOTS_TO_MPS = 1852 / 3600
_MILLISECONDS_FROM = 1e11
"""A numeric time from here on is in milliseconds: as seconds it would be the year 5138."""

# What other programs call each field, and the factor to our unit.
_COLUMNS: dict[str, tuple[str, float]] = {
    "captured_at_s": ("time", 1.0),
    "time": ("time", 1.0),
    "timestamp": ("time", 1.0),
    "datetime": ("time", 1.0),
    "date_time": ("time", 1.0),
    "t": ("time", 1.0),
    "latitude_deg": ("latitude_deg", 1.0),
    "latitude": ("latitude_deg", 1.0),
    "lat": ("latitude_deg", 1.0),
    "longitude_deg": ("longitude_deg", 1.0),
    "longitude": ("longitude_deg", 1.0),
    "lon": ("longitude_deg", 1.0),
    "lng": ("longitude_deg", 1.0),
    "long": ("longitude_deg", 1.0),
    "speed_mps": ("speed_mps", 1.0),
    "speed": ("speed_mps", 1.0),
    "speed_kmh": ("speed_mps", KMH_TO_MPS),
    "speed_kph": ("speed_mps", KMH_TO_MPS),
    "speed_knots": ("speed_mps", KNOTS_TO_MPS),
    "heading_deg": ("heading_deg", 1.0),
    "heading": ("heading_deg", 1.0),
    "bearing": ("heading_deg", 1.0),
    "course": ("heading_deg", 1.0),
    "track": ("heading_deg", 1.0),
    "altitude_m": ("altitude_m", 1.0),
    "altitude": ("altitude_m", 1.0),
    "elevation": ("altitude_m", 1.0),
    "ele": ("altitude_m", 1.0),
    "accuracy_m": ("accuracy_m", 1.0),
    "accuracy": ("accuracy_m", 1.0),
}
_REQUIRED = ("time", "latitude_deg", "longitude_deg")
_CSV_FIELDS = Fix.__struct_fields__


def read_trace(path: str | Path) -> tuple[Fix, ...]:
    """Read a trace, sorted by time.

    CSV columns are found by their names in the first line (``time``, ``lat``, ``lon``,
    ``speed_mps``, ``heading``, ...; others are ignored). Times are RFC 3339, or seconds or
    milliseconds since 1970; a time without an offset is UTC. A speed below 0 or a heading of
    -1 means that the receiver did not know it. From GPX the track points are read.

    Args:
        path: A ``.csv`` or ``.gpx`` file.

    Raises:
        DataError: The file cannot be read or is empty, or a row is wrong (``file:line``).
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        fixes = _read_csv(path)
    elif suffix == ".gpx":
        points = read_gpx_points(path)
        fixes = [_gpx_fix(point, f"{path}:{point.line}") for point in points]
    else:
        raise DataError("unknown form of trace", where=path, remedy="give a .csv or .gpx file")
    if not fixes:
        raise DataError(
            "this trace holds no fixes", where=path, remedy="give a recorded track with times"
        )
    return tuple(sorted(fixes, key=lambda fix: fix.captured_at_s))


def write_csv(path: str | Path, fixes: Iterable[Fix]) -> None:
    """Write a trace that :func:`read_trace` reads back unchanged.

    Raises:
        DataError: The file cannot be written.
    """
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_CSV_FIELDS)
            for fix in fixes:
                writer.writerow([getattr(fix, name) for name in _CSV_FIELDS])
    except OSError as error:
        raise DataError(
            f"cannot write the trace: {error.strerror}",
            where=path,
            remedy="give a folder that exists and may be written",
        ) from error


def _read_csv(path: Path) -> list[Fix]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            columns = _find_columns(next(reader, []), path)
            return [
                _csv_fix(row, columns, f"{path}:{reader.line_num}")
                for row in reader
                if any(cell.strip() for cell in row)
            ]
    except OSError as error:
        raise DataError(
            f"cannot read the trace: {error.strerror}", where=path, remedy="check the path"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"this is no CSV text: {error}", where=path, remedy="save it as UTF-8 CSV"
        ) from error


def _find_columns(header: list[str], path: Path) -> dict[str, tuple[int, float]]:
    """Return for each known field its column and factor; the first name of a field wins."""
    columns: dict[str, tuple[int, float]] = {}
    for index, cell in enumerate(header):
        name = cell.strip().lower().replace(" ", "_")
        if name in _COLUMNS:
            field, factor = _COLUMNS[name]
            columns.setdefault(field, (index, factor))
    missing = [field for field in _REQUIRED if field not in columns]
    if missing:
        raise DataError(
            f"no column for {', '.join(missing)}",
            where=f"{path}:1",
            remedy="name the columns in the first line, such as time,lat,lon,speed_mps,heading_deg",
        )
    return columns


def _csv_fix(row: list[str], columns: Mapping[str, tuple[int, float]], where: str) -> Fix:
    fields: dict[str, str] = {}
    factors: dict[str, float] = {}
    for field, (index, factor) in columns.items():
        if index < len(row) and row[index].strip():
            fields[field] = row[index].strip()
            factors[field] = factor
    return _fix(fields, factors, where)


def _gpx_fix(point: GpxPoint, where: str) -> Fix:
    return _fix(point.fields, {}, where)


def _fix(fields: Mapping[str, str], factors: Mapping[str, float], where: str) -> Fix:
    """Return the fix of these texts, checked."""
    try:
        time_s = _time_s(_required(fields, "time"))
        latitude_deg = _within(_required(fields, "latitude_deg"), 90.0, "latitude")
        longitude_deg = _within(_required(fields, "longitude_deg"), 180.0, "longitude")
        numbers = {
            name: _finite(text, name) * factors.get(name, 1.0)
            for name, text in fields.items()
            if name not in _REQUIRED
        }
    except ValueError as error:
        raise DataError(str(error), where=where, remedy="correct or delete this row") from error
    speed_mps, heading_deg = numbers.get("speed_mps"), numbers.get("heading_deg")
    return Fix(
        captured_at_s=time_s,
        latitude_deg=latitude_deg,
        longitude_deg=longitude_deg,
        speed_mps=speed_mps if speed_mps is not None and speed_mps >= 0 else None,
        heading_deg=heading_deg % 360 if heading_deg not in {None, -1.0} else None,
        altitude_m=numbers.get("altitude_m"),
        accuracy_m=numbers.get("accuracy_m"),
    )


def _required(fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise ValueError(f"this point has no {name}")
    return fields[name]


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


def _time_s(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        number = number / 1000 if abs(number) >= _MILLISECONDS_FROM else number
        if not is_time(number):
            raise ValueError(f"time {text!r} is no time")
        return number
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"time {text!r} is no time such as 2026-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    time_s = moment.timestamp()
    if not is_time(time_s):
        raise ValueError(f"time {text!r} is outside the years 1 to 9999")
    return time_s
