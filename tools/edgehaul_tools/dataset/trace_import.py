"""Import of traces and series of other programs into our dataset directories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from edgehaul.errors import DataError, DatasetError
from edgehaul.motion.fields import Rejections
from edgehaul.motion.fixes import TRACE_SUFFIXES, read_trace_counted, write_csv
from edgehaul.motion.table import is_fix_field
from edgehaul_tools.dataset.new_directory import new_directory
from edgehaul_tools.dataset.series import Series, write_series_dataset
from edgehaul_tools.dataset.series_import import (
    driver_trips,
    nab_root,
    read_driver_trip,
    read_nab,
    read_series_csv,
)

Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all."""

_KINDS = ("trips", "series")
_OURS = {"labels.json", "dataset.json"}


@dataclass(frozen=True)
class TraceImport:
    """What an import has made.

    Attributes:
        kind: Whether it is a dataset of trips or of series.
        names: Names of the trips or series.
        count: Number of fixes or samples.
        spans: Number of labelled spans.
        rejected: Number of damaged lines, rows and files that were left out.
        faults: The first of them, one line each.
    """

    kind: Literal["trips", "series"]
    names: tuple[str, ...]
    count: int
    spans: int
    rejected: int
    faults: tuple[str, ...]


def holds_traces(source: Path) -> bool:
    """Return whether a file or folder may hold traces or series (it is not opened)."""
    if source.is_file():
        return source.suffix.lower() in TRACE_SUFFIXES
    return bool(nab_root(source) or driver_trips(source) or _trace_files(source))


def import_traces(
    source: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TraceImport:
    """Make a dataset of trips or series of what other programs recorded.

    NAB and the driver-behaviour set are known by their files and keep their labels. Else every
    file below ``source`` becomes a trip (NMEA, GPX, gpsd, Traccar, OsmAnd, CSV), or a series
    where ``columns`` names channels instead of latitude and longitude.

    Args:
        source: A file or a folder.
        out: The new folder; it appears whole or not at all.
        columns: Our fields to the columns of CSV files, such as ``{"time": "when:ms", "lat":
            "y", "lon": "x"}`` or ``{"time": "uptimeNanos:ns", "accel_x": "x"}``.
        progress: Told of each file.

    Raises:
        DatasetError: There is nothing to import, or ``out`` is no empty folder.
        DataError: A file cannot be used.
    """
    if not source.exists():
        raise DatasetError("there is no such file or folder", where=source, remedy="correct it")
    if any((source / "labels.json").is_file() and (source / kind).is_dir() for kind in _KINDS):
        raise DatasetError(
            "this is a dataset of trips or series already",
            where=source,
            remedy="use it as it is: an import would lose its labels",
        )
    rejections = Rejections()
    series = _series(source, columns, rejections, progress)
    if series is not None:
        if not series:
            raise DatasetError("no series are here", where=source, remedy=_faults_text(rejections))
        with new_directory(out) as folder:
            write_series_dataset(folder, series)
        return _summary("series", series, rejections)
    with new_directory(out) as folder:
        return _import_trips(source, folder, columns, rejections, progress)


def _series(
    source: Path,
    columns: Mapping[str, str] | None,
    rejections: Rejections,
    progress: Progress | None,
) -> list[Series] | None:
    """Return the series that are here; None where these are trips."""
    report = progress or (lambda _done, _all: None)
    if columns is not None:
        if all(is_fix_field(name) for name in columns):
            return None
        files = [p for p in _trace_files(source) if p.suffix.lower() in {".csv", ".tsv", ".txt"}]
        found = []
        for number, path in enumerate(files):
            found.append(read_series_csv(path, columns, rejections, _name(path, source)))
            report(number + 1, len(files))
        return found
    root = nab_root(source)
    if root is not None:
        return read_nab(source, root, rejections)
    trips = driver_trips(source)
    if not trips:
        return None
    found = []
    for number, trip in enumerate(trips):
        found.append(read_driver_trip(trip, rejections))
        report(number + 1, len(trips))
    return found


def _import_trips(
    source: Path,
    folder: Path,
    columns: Mapping[str, str] | None,
    rejections: Rejections,
    progress: Progress | None,
) -> TraceImport:
    (folder / "trips").mkdir()
    files = _trace_files(source)
    names: dict[str, Path] = {}
    count = 0
    for number, path in enumerate(files):
        name = _name(path, source)
        if name in names:
            rejections.add(f"left out: {names[name].name} has the same name", where=str(path))
            continue
        try:
            trace = read_trace_counted(path, columns)
        except DataError as error:
            if len(files) == 1:
                raise
            rejections.add(error.message, where=error.where)
            continue
        names[name] = path
        count += len(trace.fixes)
        rejections.count += trace.rejected
        rejections.faults.extend(trace.faults[: max(0, 20 - len(rejections.faults))])
        write_csv(folder / "trips" / f"{name}.csv", trace.fixes)
        if progress:
            progress(number + 1, len(files))
    if not names:
        raise DatasetError("no traces are here", where=source, remedy=_faults_text(rejections))
    labels = {"labels": [], "trips": {name: [] for name in sorted(names)}}
    (folder / "labels.json").write_bytes(msgspec.json.format(msgspec.json.encode(labels)))
    faults = tuple(rejections.faults)
    return TraceImport("trips", tuple(sorted(names)), count, 0, rejections.count, faults)


def _trace_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    # CSV before GPX: where a trip is there in both, the table says more.
    return sorted(
        p
        for p in source.rglob("*")
        if p.is_file() and p.suffix.lower() in TRACE_SUFFIXES and p.name not in _OURS
    )


def _name(path: Path, source: Path) -> str:
    """Return the name of a trip: its path below the source, without suffix."""
    below = path.relative_to(source) if source.is_dir() else Path(path.name)
    return below.with_suffix("").as_posix().replace("/", "_")


def _summary(
    kind: Literal["trips", "series"], series: list[Series], rejections: Rejections
) -> TraceImport:
    return TraceImport(
        kind,
        tuple(one.name for one in series),
        sum(len(one.time_s) for one in series),
        sum(len(one.spans) for one in series),
        rejections.count,
        tuple(rejections.faults),
    )


def _faults_text(rejections: Rejections) -> str:
    if rejections.faults:
        return f"mend these: {' | '.join(rejections.faults[:5])}"
    return f"give a folder with files such as {', '.join(TRACE_SUFFIXES)}"
