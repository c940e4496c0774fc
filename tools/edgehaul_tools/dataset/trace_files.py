"""The files of a folder that may hold traces, and how what they hold is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

from edgehaul.motion.fixes import TRACE_SUFFIXES
from edgehaul.motion.table import knows_positions
from edgehaul.motion.tracks import Track
from edgehaul_tools.dataset.pictures import SUFFIXES as PICTURE_SUFFIXES
from edgehaul_tools.dataset.unpack import archived_names
from edgehaul_tools.dataset.video_frames import SUFFIXES as VIDEO_SUFFIXES

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
_OURS = frozenset({"labels.json", "dataset.json", "split.json"})
_ABOUT = re.compile(
    r"about|authors|changelog|changes|citation|credits|sources?"
    r"|(copying|licen[cs]es?|notice|readme)([-_. ].*)?",
    re.IGNORECASE,
)
"""Names of the files that tell about data."""
_VAGUE = frozenset({".json", ".txt"})
"""Of files that go with pictures, too."""
_PICTURE_TITLES = frozenset({"path", "file", "filename", "image"})
_LONGEST_PART = 60
_FIRST_LINE = 1 << 16


def trace_files(source: Path) -> list[Path]:
    """Return the files that may hold traces: a file itself, or those below a folder.

    What tells about the data (``LICENSE``, ``SOURCE.txt``, ``README.txt``) is passed over.
    """
    if source.is_file():
        return [source]
    # CSV before GPX: where a trip is there in both, the table says more.
    return sorted(p for p in source.rglob("*") if p.is_file() and _may_hold_a_trace(p.name))


def archive_holds_traces(archive: Path) -> bool:
    """Return whether an archive has files of traces, and neither pictures nor their marks.

    Raises:
        DatasetError: The archive cannot be read.
    """
    found = False
    with closing(archived_names(archive)) as names:
        for name in names:
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES | {".xml"}:
                return False
            found |= suffix not in _VAGUE and _may_hold_a_trace(PurePosixPath(name).name)
    return found


def is_table_of_positions(path: Path) -> bool:
    """Return whether a file is a table whose first line names latitude and longitude as usual.

    A table of pictures may say where each was taken, and is none.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return False
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(_FIRST_LINE)
    except OSError:
        return False  # who reads it says why it cannot be read
    return knows_positions(first) and not _PICTURE_TITLES & set(re.findall(r"\w+", first.lower()))


def recording_name(path: Path, source: Path) -> str:
    """Return the name of a file's recording: its path below the source, without suffix."""
    below = path.relative_to(source) if source.is_dir() else Path(path.name)
    return below.with_suffix("").as_posix().replace("/", "_")


def track_names(stem: str, tracks: Sequence[Track], taken: Collection[str]) -> list[str]:
    """Return a name of its own for each track of a file.

    Args:
        stem: Name of the file's recording; that of its only track.
        tracks: The tracks of the file.
        taken: Names of other tracks.
    """
    names: list[str] = []
    for track in tracks:
        parts = (track.vehicle, track.trip) if len(tracks) > 1 else ()
        wanted = "_".join((stem, *(_as_file_name(part) for part in parts if part)))
        name, number = wanted, 1
        while name in taken or name in names:
            number += 1
            name = f"{wanted}-{number}"
        names.append(name)
    return names


def _may_hold_a_trace(name: str) -> bool:
    path = PurePosixPath(name)
    is_known = path.suffix.lower() in TRACE_SUFFIXES and name not in _OURS
    return is_known and not (path.suffix.lower() in _VAGUE and _ABOUT.fullmatch(path.stem))


def _as_file_name(text: str) -> str:
    """Return a text of a file, whatever is in it, as a part of the name of another file."""
    return re.sub(r"[^\w.-]+", "-", text).strip(".-")[:_LONGEST_PART] or "unnamed"
