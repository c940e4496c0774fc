"""Pascal VOC: one XML file for each picture (host.robots.ox.ac.uk/pascal/VOC)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.pictures import SUFFIXES, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox

_LABEL_FILES = ("labels.txt", "classes.txt")

# What is read of one XML file: the picture, its size, and (label, box, whether difficult).
_Mark = tuple[str, Box, bool]


def find_xml(root: Path) -> list[Path]:
    """Return the annotation files of a VOC dataset; none where it is another form."""
    folder = root / "Annotations"
    return sorted((folder if folder.is_dir() else root).glob("*.xml"))


def read_voc(root: Path) -> DetectionDataset:
    """Read a Pascal VOC dataset; ``difficult`` objects are ignored ones.

    VOC counts pixels from 1 and includes the last one. The labels are those of
    ``labels.txt`` where there is one, otherwise the names found, sorted.

    Args:
        root: Folder with ``Annotations/*.xml`` and ``JPEGImages``, or with both mixed.

    Raises:
        DatasetError: It has fatal faults.
    """
    faults = FaultBook()
    files = find_xml(root)
    read = [(file, _read_xml(file, faults)) for file in files]
    marked = [(file, marks) for file, marks in read if marks is not None]
    labels = _labels(root, [mark for _, marks in marked for mark in marks])
    paths = [_locate(root, file) for file, _ in marked]
    samples = []
    for (file, marks), path, group in zip(marked, paths, guess_groups(paths), strict=True):
        size = picture_size(path, faults)
        if size is not None:
            boxes, ignored = _boxes(marks, size, labels, file, faults)
            samples.append(Sample(path, group, *size, boxes, ignored))
    faults.raise_fatal(root)
    return DetectionDataset(root, labels, tuple(samples), tuple(faults.mended))


def _read_xml(file: Path, faults: FaultBook) -> list[_Mark] | None:
    content = file.read_bytes()
    if b"<!ENTITY" in content:
        faults.fatal.append(f"{file}: XML with entities is refused")
        return None
    try:
        tree = ET.fromstring(content)  # noqa: S314 - entities are refused above
        return [_mark(item) for item in tree.iter("object")]
    except (ET.ParseError, ValueError) as error:
        faults.fatal.append(f"{file}: {error}")
        return None


def _mark(item: ET.Element) -> _Mark:
    sides = [float(item.findtext(f"bndbox/{n}") or "nan") for n in ("xmin", "ymin", "xmax", "ymax")]
    box = Box(sides[0] - 1, sides[1] - 1, sides[2], sides[3])
    # A box of one pixel is a slip of the mouse; its VOC sides are equal.
    if sides[0] == sides[2] or sides[1] == sides[3]:
        box = Box(*sides)
    return (
        (item.findtext("name") or "").strip(),
        box,
        item.findtext("difficult", "0").strip() == "1",
    )


def _labels(root: Path, marks: list[_Mark]) -> tuple[str, ...]:
    for name in _LABEL_FILES:
        if (root / name).is_file():
            lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return tuple(sorted({label for label, _, _ in marks}))


def _locate(root: Path, file: Path) -> Path:
    """Return the picture of an annotation file: the one with the same stem."""
    folders = (root / "JPEGImages", root / "images", file.parent)
    for folder in folders:
        for suffix in sorted(SUFFIXES):
            for name in (file.stem + suffix, file.stem + suffix.upper()):
                if (folder / name).is_file():
                    return folder / name
    return folders[0] / f"{file.stem}.jpg"


def _boxes(
    marks: list[_Mark],
    size: tuple[int, int],
    labels: tuple[str, ...],
    file: Path,
    faults: FaultBook,
) -> tuple[tuple[TrueBox, ...], tuple[Box, ...]]:
    boxes, ignored = [], []
    for number, (label, written, difficult) in enumerate(marks, start=1):
        where = f"{file}: object {number}"
        if label not in labels:
            faults.fatal.append(f"{where}: label {label!r} is not listed")
            continue
        box = faults.checked_box(written, *size, where)
        if box is not None and difficult:
            ignored.append(box)
        elif box is not None:
            boxes.append(TrueBox(box, labels.index(label)))
    return tuple(boxes), tuple(ignored)
