"""Import of traces and series of other programs into our dataset directories."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgehaul.clock import Clock, SystemClock, format_utc
from edgehaul.errors import DataError, DatasetError
from edgehaul.motion.fields import REQUIRED, Rejections
from edgehaul.motion.fixes import TRACE_SUFFIXES
from edgehaul.motion.table import fix_field
from edgehaul_tools.dataset.import_dataset import About
from edgehaul_tools.dataset.manifest import DatasetManifest, file_record, sealed, write_manifest
from edgehaul_tools.dataset.new_directory import PARTIAL_MARK, new_directory
from edgehaul_tools.dataset.series import write_series_dataset
from edgehaul_tools.dataset.series_import import driver_trips, find_series, nab_root
from edgehaul_tools.dataset.trace_files import is_table_of_positions, trace_files
from edgehaul_tools.dataset.trip_import import write_trips
from edgehaul_tools.dataset.unpack import is_archive, unpack

Progress = Callable[[int, int], None]
"""Called with the number of items done and the number of all."""

Kind = Literal["trips", "series"]
_KINDS: tuple[Kind, ...] = ("trips", "series")
_UNPACKED = "unpacked"


@dataclass(frozen=True)
class TraceOptions:
    """How traces are imported.

    Attributes:
        form: ``gps`` makes trips of all files, ``series`` series; ``auto`` tells by the files
            and the columns.
        about: What the manifest says.
        clock: Tells when they were imported.
    """

    form: Literal["auto", "gps", "series"] = "auto"
    about: About = field(default_factory=About)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True)
class TraceImport:
    """What an import has made.

    Attributes:
        kind: Whether it is a dataset of trips or of series.
        names: Names of the trips or series.
        count: Number of fixes or samples.
        spans: Number of labelled spans.
        rejected: Number of damaged lines and rows that were left out.
        faults: The first of them in each file, one line each.
        left_out: Every file that was left out whole, and why, one line each.
        vehicles: Number of vehicles that are named.
        manifest: What ``dataset.json`` says.
    """

    kind: Kind
    names: tuple[str, ...]
    count: int
    spans: int
    rejected: int
    faults: tuple[str, ...]
    left_out: tuple[str, ...]
    vehicles: int
    manifest: DatasetManifest


@dataclass(frozen=True)
class _Written:
    """What was written, before it is sealed; vehicles by the names of the recordings."""

    kind: Kind
    groups: Mapping[str, str]
    count: int
    spans: Counter[str]


def holds_traces(source: Path) -> bool:
    """Return whether a file or folder may hold traces or series (its files are not opened)."""
    if source.is_file():
        return source.suffix.lower() in TRACE_SUFFIXES
    return bool(nab_root(source) or driver_trips(source) or trace_files(source))


def import_traces(
    source: Path,
    out: Path,
    columns: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    options: TraceOptions = TraceOptions(),
) -> TraceImport:
    """Make a dataset of trips or series, with a manifest, of what other programs recorded.

    NAB and the driver-behaviour set are known by their files and keep their labels. Else every
    file below ``source`` becomes a trip (NMEA, GPX, gpsd, Traccar, OsmAnd, CSV), or one for
    each vehicle and trip that it names; or it becomes a series, where ``columns`` names
    channels instead of latitude and longitude.

    Args:
        source: A file, a folder, or an archive of either.
        out: The new folder; it appears whole or not at all.
        columns: Our fields to the columns of CSV files, such as ``{"time": "when:ms", "lat":
            "y", "lon": "x"}`` or ``{"time": "uptimeNanos:ns", "accel_x": "x"}``.
        progress: Told of each file.
        options: What to make, and what the manifest says.

    Raises:
        DatasetError: There is nothing to import, or ``out`` is no empty folder.
        DataError: A file cannot be used.
    """
    if not source.exists():
        raise DatasetError("there is no such file or folder", where=source, remedy="correct it")
    report = progress or (lambda _done, _all: None)
    rejections = Rejections()
    with new_directory(out) as folder, _unpacked(source, folder, rejections) as root:
        _refuse_ours(root)
        if _are_series(root, columns, options.form):
            written = _write_series(root, folder, columns, rejections, report)
        else:
            trips = write_trips(root, folder, columns, rejections, report)
            written = _Written("trips", trips.groups, trips.count, Counter())
        if not written.groups:
            raise DatasetError(
                f"no {'traces' if written.kind == 'trips' else 'series'} are here",
                where=root,
                remedy=_faults_text(rejections),
            )
        shutil.rmtree(folder / _UNPACKED, ignore_errors=True)
        manifest = _manifest(written, source, folder, options)
        write_manifest(folder, manifest)
    return TraceImport(
        written.kind,
        tuple(sorted(written.groups)),
        written.count,
        written.spans.total(),
        rejections.count,
        tuple(rejections.faults),
        tuple(rejections.left_out),
        len(set(written.groups.values()) - {""}),
        manifest,
    )


@contextmanager
def _unpacked(source: Path, folder: Path, rejections: Rejections) -> Iterator[Path]:
    """Unpack an archive; what is said of its files names the archive instead of the place."""
    if not is_archive(source):
        yield source
        return
    place = str(folder / _UNPACKED)
    try:
        yield unpack(source, folder / _UNPACKED)
    except DataError as error:
        message, where, remedy = (
            text.replace(place, str(source)) for text in (error.message, error.where, error.remedy)
        )
        raise DatasetError(message, where=where, remedy=remedy) from error
    for lines in (rejections.faults, rejections.left_out):
        lines[:] = [line.replace(place, str(source)) for line in lines]


def _refuse_ours(source: Path) -> None:
    if any((source / "labels.json").is_file() and (source / kind).is_dir() for kind in _KINDS):
        raise DatasetError(
            "this is a dataset of trips or series already",
            where=source,
            remedy="use it as it is, unpacked: an import would lose its labels",
        )


def _are_series(source: Path, columns: Mapping[str, str] | None, form: str) -> bool:
    """Return whether to make series: as asked for, or because nothing says where it was."""
    if form != "auto":
        return form == "series"
    if columns is None:
        return bool(nab_root(source) or driver_trips(source))
    fields = {fix_field(name) for name in columns}
    if set(REQUIRED[1:]) <= fields:
        return False
    return "" in fields or not any(is_table_of_positions(path) for path in trace_files(source))


def _write_series(
    source: Path,
    folder: Path,
    columns: Mapping[str, str] | None,
    rejections: Rejections,
    report: Progress,
) -> _Written:
    series = find_series(source, columns, rejections, report)
    if series:
        write_series_dataset(folder, series)
    return _Written(
        "series",
        {one.name: one.group for one in series},
        sum(len(one.time_s) for one in series),
        Counter(span.label for one in series for span in one.spans),
    )


def _manifest(
    written: _Written, source: Path, folder: Path, options: TraceOptions
) -> DatasetManifest:
    about = options.about
    found = (path for path in folder.rglob("*") if path.is_file())
    files = sorted(path for path in found if path.name != PARTIAL_MARK)
    return sealed(
        DatasetManifest(
            name=about.name or source.name.partition(".")[0],
            version=about.version or "1",
            licence=about.licence,
            # The name alone: the path tells about somebody's machine, and differs between two.
            origin=about.origin or source.name,
            created_at=format_utc(options.clock.now_s()),
            form=written.kind,
            task=written.kind,
            labels=tuple(sorted(written.spans)),
            counts={"undivided": len(written.groups)},
            objects=dict(sorted(written.spans.items())),
            files=tuple(file_record(folder, path) for path in files),
        )
    )


def _faults_text(rejections: Rejections) -> str:
    if faults := [*rejections.left_out, *rejections.faults]:
        return f"mend these: {' | '.join(faults[:5])}"
    return f"give a folder with files such as {', '.join(TRACE_SUFFIXES)}"
