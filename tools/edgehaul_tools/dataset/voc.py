"""Pascal VOC: one XML file for each picture (host.robots.ox.ac.uk/pascal/VOC)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.label_names import read_label_names, write_label_names
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.pictures import SUFFIXES, is_there, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox
from edgehaul_tools.dataset.xml_file import begins_with_element, read_xml, text_element, write_xml

ANNOTATIONS, PICTURES, SETS = "Annotations", "JPEGImages", "ImageSets/Main"

# What is read of one XML file: the picture, its size, and (label, box, whether difficult).
_Mark = tuple[str, Box, bool]


def find_xml(root: Path) -> list[Path]:
    """Return the annotation files of a VOC dataset; none where it is another form."""
    folder = root / ANNOTATIONS
    if folder.is_dir():
        return sorted(folder.glob("*.xml"))
    return [path for path in sorted(root.glob("*.xml")) if begins_with_element(path, "annotation")]


def read_voc(root: Path) -> DetectionDataset:
    """Read a Pascal VOC dataset; ``difficult`` objects are ignored ones.

    VOC counts pixels from 1 and includes the last one. The labels are those of
    ``labels.txt`` where there is one, otherwise the names found, sorted. The parts are those
    of ``ImageSets/Main``.

    Args:
        root: Folder with ``Annotations/*.xml`` and ``JPEGImages``, or with both mixed.

    Raises:
        DatasetError: It has fatal faults.
    """
    faults = FaultBook()
    read = [(file, _read_marks(file, faults)) for file in find_xml(root)]
    marked = [(file, marks) for file, marks in read if marks is not None]
    labels = read_label_names(root)
    if labels is None:
        labels = tuple(sorted({label for _, marks in marked for label, _, _ in marks}))
    parts = _parts(root, faults)
    paths = [_locate(root, file) for file, _ in marked]
    groups = guess_groups([path.relative_to(root) for path in paths])
    samples = []
    for (file, marks), path, group in zip(marked, paths, groups, strict=True):
        size = picture_size(path, faults)
        if size is not None:
            boxes, ignored = _boxes(marks, size, labels, file, faults)
            samples.append(Sample(path, group, *size, boxes, ignored, parts.get(file.stem, "")))
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def write_voc(dataset: DetectionDataset, folder: Path) -> None:
    """Write the marks and parts of pictures that lie in ``folder/JPEGImages``.

    No two of them may have the same stem. Boxes one pixel wide are read as slips of the mouse.
    """
    (folder / ANNOTATIONS).mkdir()
    for sample in dataset.samples:
        root = _annotation(sample, dataset.labels)
        write_xml(root, folder / ANNOTATIONS / f"{sample.path.stem}.xml")
    write_label_names(folder, dataset.labels)
    for part in PARTS:
        stems = [sample.path.stem for sample in dataset.samples if sample.part == part]
        if stems:
            (folder / SETS).mkdir(parents=True, exist_ok=True)
            text = "".join(f"{stem}\n" for stem in stems)
            (folder / SETS / f"{part}.txt").write_text(text, encoding="utf-8")


def _read_marks(file: Path, faults: FaultBook) -> list[_Mark] | None:
    try:
        return [_mark(item) for item in read_xml(file).iter("object")]
    except (DatasetError, ValueError) as error:
        faults.fatal.append(str(error) if isinstance(error, DatasetError) else f"{file}: {error}")
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


def _parts(root: Path, faults: FaultBook) -> dict[str, Part]:
    """Return the part of each stem; ``trainval`` is what is in neither list of its own."""
    parts: dict[str, Part] = {}
    for part in PARTS:
        for stem in _stems(root / SETS / f"{part}.txt"):
            if parts.setdefault(stem, part) != part:
                faults.fatal.append(f"{root / SETS}: {stem} is in {parts[stem]} and in {part}")
    for stem in _stems(root / SETS / "trainval.txt"):
        parts.setdefault(stem, "train")
    return parts


def _stems(file: Path) -> list[str]:
    if not file.is_file():
        return []
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _locate(root: Path, file: Path) -> Path:
    """Return the picture of an annotation file: the one with the same stem."""
    folders = (root / PICTURES, root / "images", file.parent)
    for folder in folders:
        for suffix in sorted(SUFFIXES):
            for name in (file.stem + suffix, file.stem + suffix.upper()):
                place = folder / name
                if is_there(place) and place.is_file():
                    return place
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


def _annotation(sample: Sample, labels: tuple[str, ...]) -> ET.Element:
    root = ET.Element("annotation")
    text_element(root, "folder", PICTURES)
    text_element(root, "filename", sample.path.name)
    size = ET.SubElement(root, "size")
    for name, value in (("width", sample.width), ("height", sample.height), ("depth", 3)):
        text_element(size, name, str(value))
    marks = [(mark.box, labels[mark.class_id], "0") for mark in sample.boxes]
    marks += [(box, labels[0], "1") for box in sample.ignored]
    for box, label, difficult in marks:
        item = ET.SubElement(root, "object")
        text_element(item, "name", label)
        text_element(item, "difficult", difficult)
        sides = ET.SubElement(item, "bndbox")
        written = (box.x1 + 1, box.y1 + 1, box.x2, box.y2)
        for name, side in zip(("xmin", "ymin", "xmax", "ymax"), written, strict=True):
            text_element(sides, name, f"{side:.8g}")
    return root
