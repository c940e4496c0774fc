"""Tables of positions: CSV as many programs write it, with or without a mapping of columns."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edgehaul.errors import DataError
from edgehaul.motion.fields import KMH_TO_MPS, KNOTS_TO_MPS, OWNERS, REQUIRED, Rejections, fix_of
from edgehaul.motion.tracks import OwnedFix

# What other programs call each field, and the unit they have it in.
_NAMES: dict[str, tuple[str, str]] = {
    "captured_at_s": ("time", ""),
    "time": ("time", ""),
    "timestamp": ("time", ""),
    "datetime": ("time", ""),
    "date_time": ("time", ""),
    "t": ("time", ""),
    "latitude_deg": ("latitude_deg", ""),
    "latitude": ("latitude_deg", ""),
    "lat": ("latitude_deg", ""),
    "longitude_deg": ("longitude_deg", ""),
    "longitude": ("longitude_deg", ""),
    "lon": ("longitude_deg", ""),
    "lng": ("longitude_deg", ""),
    "long": ("longitude_deg", ""),
    "speed_mps": ("speed_mps", ""),
    "speed": ("speed_mps", ""),
    "speed_kmh": ("speed_mps", "kmh"),
    "speed_kph": ("speed_mps", "kmh"),
    "speed_knots": ("speed_mps", "knots"),
    "heading_deg": ("heading_deg", ""),
    "heading": ("heading_deg", ""),
    "bearing": ("heading_deg", ""),
    "course": ("heading_deg", ""),
    "track": ("heading_deg", ""),
    "altitude_m": ("altitude_m", ""),
    "altitude": ("altitude_m", ""),
    "elevation": ("altitude_m", ""),
    "ele": ("altitude_m", ""),
    "accuracy_m": ("accuracy_m", ""),
    "accuracy": ("accuracy_m", ""),
    "hdop": ("accuracy_m", "hdop"),
    "vehicle": ("vehicle", ""),
    "vehicle_id": ("vehicle", ""),
    "vehicleid": ("vehicle", ""),
    "device": ("vehicle", ""),
    "device_id": ("vehicle", ""),
    "deviceid": ("vehicle", ""),
    "truck": ("vehicle", ""),
    "truck_id": ("vehicle", ""),
    "imei": ("vehicle", ""),
    "trip": ("trip", ""),
    "trip_id": ("trip", ""),
    "tripid": ("trip", ""),
}
_TRACCAR = ({"fixtime", "devicetime"}, {"deviceid", "protocol", "valid", "servertime"})
"""One name of each tells a table of Traccar, whose speed is in knots."""
METRES_PER_HDOP = 5.0
"""Horizontal error (1 sigma) of a receiver without aids in the open at HDOP 1."""
UNITS: dict[str, dict[str, float]] = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "speed_mps": {"mps": 1.0, "kmh": KMH_TO_MPS, "knots": KNOTS_TO_MPS, "mph": 0.44704},
    "heading_deg": {"deg": 1.0, "rad": 57.29577951308232},
    "latitude_deg": {"deg": 1.0},
    "longitude_deg": {"deg": 1.0},
    "altitude_m": {"m": 1.0, "ft": 0.3048},
    "accuracy_m": {"m": 1.0, "ft": 0.3048, "hdop": METRES_PER_HDOP},
}


@dataclass(frozen=True)
class Column:
    """Where a field stands in a table.

    Attributes:
        index: Number of the cell in a row.
        factor: By what to multiply it.
        zone: Where times without an offset are from.
    """

    index: int
    factor: float | None = None
    zone: tzinfo | None = None


def fix_field(name: str) -> str:
    """Return the field of a fix that a mapping of columns means by a name; empty for none."""
    return _NAMES.get(name.lower(), ("", ""))[0]


def knows_positions(first: str) -> bool:
    """Return whether the first line of a table names latitude and longitude as usual."""
    return {"latitude_deg", "longitude_deg"} <= _known(_header(first)[0]).keys()


def read_table(
    lines: Iterable[str], columns: Mapping[str, str] | None, rejections: Rejections, where: str
) -> list[OwnedFix]:
    """Read fixes from the lines of a CSV file; the first one names the columns.

    Args:
        lines: With commas, semicolons or tabs.
        columns: For each of our fields the name of its column, ``NAME:UNIT`` where its unit
            is another (``ms``, ``ns``, ``kmh``, ``knots``, ``mph``, ``rad``, ``ft``, ...), or
            ``NAME@Europe/Berlin`` where local times are written. Fields that are not named,
            ``vehicle`` and ``trip`` among them, are found by their usual names.
        rejections: Told of the rows without a usable fix.
        where: The file, for errors.

    Raises:
        DataError: There is no such column, or it is no table.
    """
    source = iter(lines)
    header, delimiter = _header(next(source, ""))
    places = _places(header, columns or {}, where)
    missing = [field for field in REQUIRED if field not in places]
    if missing:
        raise DataError(
            f"no column for {', '.join(missing)}",
            where=f"{where}:1",
            remedy="name the columns in the first line, such as time,lat,lon,speed_mps,heading_deg",
        )
    factors = {name: c.factor for name, c in places.items() if c.factor is not None}
    valid = _valid_column(header, places)
    fixes = []
    reader = csv.reader(source, delimiter=delimiter)
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        place = f"{where}:{reader.line_num + 1}"
        if valid is not None and row[valid : valid + 1] == ["false"]:
            rejections.add("the receiver had no position", where=place)
            continue
        try:
            texts = _texts(row, places, delimiter)
            fix = fix_of(texts, factors, zone=places["time"].zone)
            fixes.append(OwnedFix(fix, *(texts.get(owner, "") for owner in OWNERS)))
        except ValueError as error:
            rejections.add(str(error), where=place)
    return fixes


def _texts(row: list[str], places: Mapping[str, Column], delimiter: str) -> dict[str, str]:
    texts = {f: row[c.index].strip() for f, c in places.items() if c.index < len(row)}
    if delimiter == ";":
        # Where semicolons separate, a comma is the decimal point.
        plain = {"time", *OWNERS}
        texts = {f: t if f in plain else t.replace(",", ".") for f, t in texts.items()}
    return texts


def _header(line: str) -> tuple[list[str], str]:
    """Return the titles of a table by its first line, and what separates them."""
    delimiter = max(",;\t", key=line.count)
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])], delimiter


def _places(header: list[str], columns: Mapping[str, str], where: str) -> dict[str, Column]:
    mapped = _mapped(header, columns, where)
    taken = {column.index for column in mapped.values()}
    return {f: c for f, c in _known(header).items() if c.index not in taken} | mapped


def _known(header: list[str]) -> dict[str, Column]:
    """Return the column of each field by its usual names; the first of a field wins."""
    names = [cell.lower().replace(" ", "_") for cell in header]
    if all(wanted & set(names) for wanted in _TRACCAR):
        return _of_traccar(names)
    places: dict[str, Column] = {}
    for index, name in enumerate(names):
        if name in _NAMES:
            field, unit = _NAMES[name]
            factor = UNITS[field][unit] if unit else None
            # A stated accuracy says more than a dilution of precision.
            if unit == "hdop" and any(_NAMES.get(n) == ("accuracy_m", "") for n in names):
                continue
            places.setdefault(field, Column(index, factor))
    return places


def _of_traccar(names: list[str]) -> dict[str, Column]:
    time = "fixtime" if "fixtime" in names else "devicetime"
    fields = {"time": time, "latitude_deg": "latitude", "longitude_deg": "longitude"}
    fields |= {"heading_deg": "course", "altitude_m": "altitude", "accuracy_m": "accuracy"}
    fields |= {"vehicle": "deviceid"}
    places = {f: Column(names.index(n)) for f, n in fields.items() if n in names}
    if "speed" in names:
        places["speed_mps"] = Column(names.index("speed"), KNOTS_TO_MPS)
    return places


def _valid_column(header: list[str], places: Mapping[str, Column]) -> int | None:
    """Return the column that says whether there was a position, as Traccar writes one."""
    names = [cell.lower() for cell in header]
    taken = {column.index for column in places.values()}
    index = names.index("valid") if "valid" in names else None
    return index if index not in taken else None


def _mapped(header: list[str], columns: Mapping[str, str], where: str) -> dict[str, Column]:
    places = {}
    for ours, theirs in columns.items():
        field = fix_field(ours)
        if not field:
            known = ", ".join((*UNITS, *OWNERS))
            raise DataError(
                f"there is no field {ours!r}", where=where, remedy=f"map some of {known}"
            )
        places[field] = find_column(header, field, theirs, where)
    return places


def find_column(header: list[str], field: str, theirs: str, where: str) -> Column:
    """Return the column that ``NAME``, ``NAME:UNIT`` or ``NAME@ZONE`` means.

    Args:
        header: The cells of the first line.
        field: Our name of the field; those of :data:`UNITS` have units.
        theirs: What the user calls it.
        where: The file, for errors.

    Raises:
        DataError: There is no such column, unit or zone.
    """
    units = UNITS.get(field, {})
    if theirs in header:
        return Column(header.index(theirs))
    name, colon, unit = theirs.rpartition(":")
    if colon and name in header and unit in units:
        return Column(header.index(name), units[unit])
    name, sign, zone = theirs.rpartition("@")
    if sign and name in header and field == "time":
        return Column(header.index(name), zone=_zone(zone, where))
    wanted = theirs.partition(":")[0]
    near = difflib.get_close_matches(wanted, header, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"there is no column {theirs!r} for {field}",
        where=f"{where}:1",
        remedy=f"{hint}There are: {', '.join(header)}" + _units_text(units),
    )


def _units_text(units: Mapping[str, float]) -> str:
    return f"; units are {', '.join(units)}" if units else ""


def _zone(name: str, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise DataError(
            f"there is no time zone {name!r}",
            where=where,
            remedy="name one such as Europe/Berlin; the system must have the zones (tzdata)",
        ) from error
