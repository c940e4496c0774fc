"""Import of GPS traces: a trip for each vehicle, and for each of its trips, in each file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehaul.errors import DataError
from edgehaul.motion.fields import Rejections
from edgehaul.motion.fixes import read_tracks, write_csv
from edgehaul.motion.tracks import Track
from edgehaul_tools.dataset.trace_files import recording_name, trace_files, track_names
from edgehaul_tools.dataset.traces import write_labels


@dataclass
class ImportedTrips:
    """What an import of trips has written.

    Attributes:
        groups: The vehicle of each trip by its name; empty where the file names none.
        count: Number of fixes.
    """

    groups: dict[str, str] = field(default_factory=dict)
    count: int = 0


def write_trips(
    source: Path,
    folder: Path,
    columns: Mapping[str, str] | None,
    rejections: Rejections,
    report: Callable[[int, int], None],
) -> ImportedTrips:
    """Write every trip of a file or folder as ``trips/NAME.csv``, and ``labels.json``.

    Args:
        source: A file or a folder.
        folder: An empty folder.
        columns: Our fields to the columns of CSV files.
        rejections: Told of the files and rows that cannot be used.
        report: Told of each file.

    Raises:
        DataError: The only file cannot be read.
    """
    (folder / "trips").mkdir()
    made = ImportedTrips()
    files = trace_files(source)
    seen: dict[str, Path] = {}
    for number, path in enumerate(files, start=1):
        stem = recording_name(path, source)
        if stem in seen:
            rejections.leave_out(f"{seen[stem].name} has the same name", where=str(path))
        elif tracks := _tracks(path, columns, rejections, only=len(files) == 1):
            seen[stem] = path
            _write(tracks, stem, folder / "trips", made)
        report(number, len(files))
    write_labels(folder / "labels.json", dict.fromkeys(made.groups, ()), made.groups)
    return made


def _tracks(
    path: Path, columns: Mapping[str, str] | None, rejections: Rejections, *, only: bool
) -> tuple[Track, ...]:
    try:
        read = read_tracks(path, columns)
    except DataError as error:
        if only:
            raise
        rejections.leave_out(error.message, where=error.where)
        return ()
    rejections.include(read.rejected, read.faults)
    return read.tracks


def _write(tracks: Sequence[Track], stem: str, folder: Path, made: ImportedTrips) -> None:
    names = track_names(stem, tracks, made.groups.keys())
    for name, track in zip(names, tracks, strict=True):
        write_csv(folder / f"{name}.csv", track.fixes)
        made.groups[name] = track.vehicle
        made.count += len(track.fixes)
