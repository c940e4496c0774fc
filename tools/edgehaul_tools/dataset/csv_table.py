"""A table of pictures with their classes: ``path,label`` and, if wished, ``part,group``.

Commas, semicolons or tabs separate its cells.
"""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path, PurePath
from typing import NamedTuple

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.label_names import read_label_names, write_label_names
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.pictures import locate_picture, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, whole_picture

TABLE_FILE = "labels.csv"
SUFFIXES = frozenset({".csv", ".tsv"})
NOT_READ = " was not read: "
"""What the note of a table that was passed over says, between its path and why."""
_COLUMNS = ("path", "label", "part", "group")
_NAMES = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "class_name", "category"),
    "part": ("part", "split", "subset"),
    "group": ("group",),
}
"""What a column may be called."""
_SHOWN = 60
"""Letters of a strange first line that an error shows."""


class _Row(NamedTuple):
    line: int
    path: str
    label: str
    part: str
    group: str


def find_table(root: Path) -> Path | None:
    """Return the table of a dataset, given the folder or the file."""
    if root.is_file():
        return root if root.suffix.lower() in SUFFIXES else None
    return next((file for file in _tables(root) if not _why_not(file)), None)


def unread_tables(root: Path, read: Path | None = None) -> list[str]:
    """Return one line for each table beside the pictures that is not read, and why.

    Args:
        root: The dataset; a file has nothing beside it.
        read: The table that is read.
    """
    if root.is_file():
        return []
    whys = [(file, _why_not(file)) for file in _tables(root) if file != read]
    if read is not None:
        # Beside a table with the classes, others may hold anything.
        whys = [(file, f"{read.name} is read") for file, why in whys if not why]
    return [f"{file}{NOT_READ}{why}" for file, why in whys if why]


def _tables(root: Path) -> list[Path]:
    """Return the tables at the top and beside the pictures there; ours comes first."""
    places = [root, root / "images"]
    found = [file for place in places for file in sorted(place.glob("*.[ct]sv"))]
    return sorted(filter(Path.is_file, found), key=lambda file: file != root / TABLE_FILE)


def read_table(root: Path) -> DetectionDataset:
    """Read a table of pictures; no label at all means pictures without marks.

    Args:
        root: The CSV file, or a folder with one; paths are relative to it or to ``images``.
            ``labels.txt`` gives the labels another order than the alphabet's.

    Raises:
        DatasetError: There is no such file, or it has fatal faults.
    """
    file = find_table(root)
    if file is None:
        raise DatasetError(
            "there is no table of pictures here",
            where=root,
            remedy="write a CSV file with the columns path and label",
        )
    rows = sorted(_rows(file), key=lambda row: row.path)
    labels = read_label_names(file.parent) or tuple(sorted({r.label for r in rows} - {""}))
    guessed = guess_groups([PurePath(row.path) for row in rows], folders_tell=False)
    faults = FaultBook()
    faults.mended += unread_tables(root, file)
    samples = [
        _sample(row, group, file, labels, faults) for row, group in zip(rows, guessed, strict=True)
    ]
    return faults.judged(DetectionDataset(root, labels, tuple(filter(None, samples))))


def write_table(dataset: DetectionDataset, folder: Path) -> None:
    """Write ``labels.csv`` and ``labels.txt`` for pictures with a class each, or with none."""
    with (folder / TABLE_FILE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(_COLUMNS)
        for sample in dataset.samples:
            label = "" if sample.class_id is None else dataset.labels[sample.class_id]
            name = sample.path.relative_to(folder).as_posix()
            writer.writerow((name, label, sample.part, sample.group))
    if dataset.labels:
        write_label_names(folder, dataset.labels)


def _why_not(file: Path) -> str:
    """Return why a file is no table of pictures; nothing where it is one."""
    try:
        first = _lines(file, most=1)
    except DatasetError as error:
        return error.message
    titles = first[0] if first else []
    if {"path", "label"} <= set(_places(titles)):
        return ""
    return f"its columns are {', '.join(titles)[:_SHOWN] or 'none'}, not path and label"


def _places(header: list[str]) -> dict[str, int]:
    """Return where each of our columns is."""
    titles = [title.strip().casefold() for title in header]
    found = {
        column: next((titles.index(name) for name in names if name in titles), -1)
        for column, names in _NAMES.items()
    }
    return {column: place for column, place in found.items() if place >= 0}


def _rows(file: Path) -> list[_Row]:
    lines = _lines(file)
    header = _places(lines[0]) if lines else {}
    if "path" not in header or "label" not in header:
        raise DatasetError(
            "the table has no columns path and label",
            where=file,
            remedy="name the columns in its first line: path,label (and part,group)",
        )
    rows = []
    for number, cells in enumerate(lines, start=1):
        if number == 1 or not any(cells):
            continue
        values = {c: cells[at].strip() if at < len(cells) else "" for c, at in header.items()}
        rows.append(_Row(number, *(values.get(column, "") for column in _COLUMNS)))
    return rows


def _lines(file: Path, most: int | None = None) -> list[list[str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = max(",;\t", key=stream.readline().count)
            stream.seek(0)
            return list(islice(csv.reader(stream, delimiter=delimiter), most))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"this is no table: {error}", where=file, remedy="save it as CSV in UTF-8"
        ) from error


def _sample(
    row: _Row, group: str, file: Path, labels: tuple[str, ...], faults: FaultBook
) -> Sample | None:
    where = f"{file}:{row.line}"
    if not row.path:
        faults.fatal.append(f"{where}: no path")
        return None
    if row.label not in labels and labels:
        faults.fatal.append(f"{where}: label {row.label!r} is not one of {', '.join(labels)}")
        return None
    if row.part and not part_named(row.part):
        faults.fatal.append(f"{where}: part {row.part!r} is not train, val or test")
        return None
    path = locate_picture([file.parent, file.parent / "images"], row.path)
    size = picture_size(path, faults)
    if size is None:
        return None
    boxes = (whole_picture(*size, labels.index(row.label)),) if labels else ()
    return Sample(path, row.group or group, *size, boxes, part=part_named(row.part))
