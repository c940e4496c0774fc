"""Traces of positions in files: many forms in, CSV out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgehaul.errors import DataError
from edgehaul.motion.fields import Rejections
from edgehaul.motion.gpsd import read_gpsd
from edgehaul.motion.gpx import read_gpx_points
from edgehaul.motion.logs import read_osmand, read_traccar
from edgehaul.motion.nmea import NmeaReader
from edgehaul.motion.table import read_table
from edgehaul.motion.tracks import OwnedFix, Track, fixes_of_one, tracks_of
from edgehaul.values import Fix

_CSV_FIELDS = Fix.__struct_fields__
TRACE_SUFFIXES: Final = (".csv", ".tsv", ".gpx", ".nmea", ".nma", ".log", ".json", ".jsonl", ".txt")
"""Of files that :func:`read_trace` may know."""


@dataclass(frozen=True)
class CountedTrace:
    """A trace, and what of its file could not be used.

    Attributes:
        fixes: Sorted by time.
        form: ``csv``, ``gpx``, ``nmea``, ``gpsd``, ``traccar`` or ``osmand``.
        rejected: Number of damaged lines, rows, sentences or points.
        faults: The first of them, one line each.
    """

    fixes: tuple[Fix, ...]
    form: str
    rejected: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class CountedTracks:
    """The tracks of all vehicles in a file, and what of it could not be used.

    Attributes:
        tracks: One for each vehicle and trip that the file names; one where it names none.
        form: As of :class:`CountedTrace`.
        rejected: As of :class:`CountedTrace`.
        faults: As of :class:`CountedTrace`.
    """

    tracks: tuple[Track, ...]
    form: str
    rejected: int
    faults: tuple[str, ...]


def read_trace(path: str | Path, columns: Mapping[str, str] | None = None) -> tuple[Fix, ...]:
    """Read a trace, sorted by time.

    CSV columns are found by their names in the first line (``time``, ``lat``, ``lon``,
    ``speed_mps``, ``heading``, ...; others are ignored), or by ``columns``. Times are RFC 3339,
    or seconds or milliseconds since 1970; a time without an offset is UTC. A speed below 0 or
    a heading of -1 means that the receiver did not know it. From GPX the track points are
    read. NMEA 0183, gpsd's JSON, Traccar's JSON and CSV, and OsmAnd's requests are told by
    their content.

    A table or GPX with a wrong row is refused. In logs of a receiver damaged lines are usual:
    they are passed over; :func:`read_trace_counted` counts them.

    Args:
        path: The file.
        columns: For CSV: our field to their column; see :func:`edgehaul.motion.table.read_table`.

    Raises:
        DataError: The file cannot be read, holds no fix or those of several vehicles, or a row
            is wrong (``file:line``).
    """
    return fixes_of_one(_read(Path(path), columns, strict=True).tracks, str(path))


def read_trace_counted(path: str | Path, columns: Mapping[str, str] | None = None) -> CountedTrace:
    """Read a trace as :func:`read_trace` does, but count wrong rows of any form.

    Raises:
        DataError: The file cannot be read, or holds no fix or those of several vehicles.
    """
    read = _read(Path(path), columns, strict=False)
    fixes = fixes_of_one(read.tracks, str(path))
    return CountedTrace(fixes, read.form, read.rejected, read.faults)


def read_tracks(path: str | Path, columns: Mapping[str, str] | None = None) -> CountedTracks:
    """Read the fixes of each vehicle and trip in a file; wrong rows are counted.

    Vehicles are told by a column such as ``vehicle_id`` or ``device``, Traccar's ``deviceId``
    or OsmAnd's ``id``; trips by a column such as ``trip_id``.

    Args:
        path: The file.
        columns: As of :func:`read_trace`; ``vehicle`` and ``trip`` may be among them.

    Raises:
        DataError: The file cannot be read, or holds no fix.
    """
    return _read(Path(path), columns, strict=False)


def _read(path: Path, columns: Mapping[str, str] | None, *, strict: bool) -> CountedTracks:
    form = _form(path, columns)
    rejections = Rejections(strict=strict and form in {"csv", "gpx"})
    if form == "gpx":
        points = read_gpx_points(path)
        found = [rejections.fix(point.fields, f"{path}:{point.line}") for point in points]
        owned = [OwnedFix(fix) for fix in found if fix]
    else:
        owned = _read_content(path, form, columns, rejections)
    if not owned:
        bad = (
            f" ({rejections.count} damaged lines: {rejections.faults[0]})"
            if rejections.count
            else ""
        )
        raise DataError(
            f"this trace holds no fixes{bad}",
            where=path,
            remedy="give a recorded track with times",
        )
    # A wrong row is an error of its own; that nobody's rows are among those of several vehicles
    # is told by the number of these.
    rejections.strict = False
    tracks = tracks_of(owned, rejections, str(path))
    return CountedTracks(tracks, form, rejections.count, tuple(rejections.faults))


def _read_content(
    path: Path, form: str, columns: Mapping[str, str] | None, rejections: Rejections
) -> list[OwnedFix]:
    content = _content(path)
    if form == "nmea":
        return [OwnedFix(fix) for fix in _read_nmea(path, content, rejections)]
    if form == "traccar":
        return read_traccar(content, rejections, str(path))
    if form == "csv":
        try:
            text = content.decode("utf-8-sig")
            return read_table(io.StringIO(text, newline=""), columns, rejections, str(path))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"this is no CSV text: {error}", where=path, remedy="save it as UTF-8 CSV"
            ) from error
    lines = content.decode("utf-8", errors="replace").splitlines()
    read = read_gpsd if form == "gpsd" else read_osmand
    return read(lines, rejections, str(path))


def _read_nmea(path: Path, content: bytes, rejections: Rejections) -> list[Fix]:
    reader = NmeaReader()
    fixes = []
    for number, line in enumerate(content.splitlines(), start=1):
        before = reader.rejected
        fixes += reader.push(line)
        for _ in range(reader.rejected - before):
            rejections.add("damaged sentence", where=f"{path}:{number}")
    fixes += reader.flush()
    if reader.undated and not fixes:
        raise DataError(
            f"{reader.undated} fixes carry a time of day but no date",
            where=path,
            remedy="let the receiver write RMC or ZDA sentences too",
        )
    for _ in range(reader.undated + reader.given_up):
        rejections.add("a fix whose date nothing tells", where=str(path))
    return fixes


def _form(path: Path, columns: Mapping[str, str] | None) -> str:
    """Return the form of a file by its suffix, and by its content where that says nothing."""
    suffix = path.suffix.lower()
    if suffix == ".gpx":
        return "gpx"
    if columns:
        return "csv"
    if suffix not in TRACE_SUFFIXES:
        raise DataError(
            "unknown form of trace",
            where=path,
            remedy="give a .csv or .gpx file, or a log of NMEA, gpsd, Traccar or OsmAnd "
            f"({', '.join(TRACE_SUFFIXES)})",
        )
    content = _content(path)
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"<") and b"<gpx" in start:
        return "gpx"
    if b'"TPV"' in content:
        return "gpsd"
    if suffix in {".csv", ".tsv"} and not start.startswith(b"$"):
        return "csv"
    return _form_of_text(path, content, start)


def _form_of_text(path: Path, content: bytes, start: bytes) -> str:
    if start[:1] in {b"[", b"{"} and (b"fixTime" in content or b"deviceTime" in content):
        return "traccar"
    if any(kind in content for kind in (b"RMC,", b"GGA,", b"GLL,")):
        return "nmea"
    if b"lat=" in content and b"lon=" in content:
        return "osmand"
    if not start:
        raise DataError(
            "this trace holds no fixes: the file is empty", where=path, remedy="record it again"
        )
    if start.split(b"\n", 1)[0].count(b",") > 1:
        return "csv"
    raise DataError(
        "this trace holds no fixes of a known form",
        where=path,
        remedy="give NMEA 0183, gpsd's or Traccar's JSON, OsmAnd's requests, CSV or GPX",
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read the trace: {error.strerror}", where=path, remedy="check the path"
        ) from error


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
