"""CVAT for images 1.1: one XML file with boxes and tags (docs.cvat.ai/docs/dataset_management)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path, PurePath

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box, Point
from edgehaul_tools.dataset.envelope import box_around, box_around_turned
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.picture_classes import with_one_class
from edgehaul_tools.dataset.pictures import locate_picture, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox, whole_picture
from edgehaul_tools.dataset.xml_file import begins_with_element, read_xml

CVAT_FILE = "annotations.xml"
SIDES = ("xtl", "ytl", "xbr", "ybr")
IGNORED = "ignored"
"""An attribute of boxes that is EdgeHaul's own."""

_BORDERED = frozenset({"polygon", "polyline", "points"})


def find_cvat(root: Path) -> Path | None:
    """Return the annotation file of a CVAT dataset, given the folder or the file."""
    if root.is_file():
        return root if root.suffix.lower() == ".xml" else None
    files = [root / CVAT_FILE, *sorted(root.glob("*.xml"))]
    return next(
        (file for file in files if file.is_file() and begins_with_element(file, "annotations")),
        None,
    )


def read_cvat(root: Path) -> DetectionDataset:
    """Read an export of CVAT; a subset that is called as a part is that part.

    Polygons and points are read as the boxes around them. A tag is the class of the whole
    picture; where all marks are tags, pictures without one are left out. Boxes with the
    attribute ``ignored`` are ignored ones.

    Args:
        root: Folder with ``annotations.xml`` and ``images``, or the file.

    Raises:
        DatasetError: There is no such file, or it has fatal faults.
    """
    file = find_cvat(root)
    if file is None:
        raise DatasetError(
            "there is no annotations.xml of CVAT here",
            where=root,
            remedy="export the task as `CVAT for images 1.1`, with its images",
        )
    content = read_xml(file)
    if content.find(".//track") is not None:
        raise DatasetError(
            "these are the tracks of a video",
            where=file,
            remedy="export the task as `CVAT for images 1.1`",
        )
    faults = FaultBook()
    items = sorted(content.iter("image"), key=_name)
    labels = _labels(content, items)
    # Pictures of two subsets may be called alike.
    groups = guess_groups([PurePath(item.get("subset", ""), _name(item)) for item in items])
    read = [
        _sample(item, group, file, labels, faults)
        for item, group in zip(items, groups, strict=True)
    ]
    samples = [sample for sample in read if sample is not None]
    if {mark.tag for item in items for mark in item} == {"tag"}:
        samples = with_one_class(samples, labels, root, faults)
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def _name(item: ET.Element) -> str:
    return item.get("name", "")


def _labels(content: ET.Element, items: list[ET.Element]) -> tuple[str, ...]:
    """Return the labels of the task in their order, or else those found, sorted."""
    listed = [
        (name.text or "").strip()
        for label in content.findall("meta//labels/label")
        if label.findtext("parent") in {None, ""} and (name := label.find("name")) is not None
    ]
    found = {mark.get("label", "") for item in items for mark in item}
    return tuple(dict.fromkeys(listed)) or tuple(sorted(found - {""}))


def _sample(
    item: ET.Element, group: str, file: Path, labels: tuple[str, ...], faults: FaultBook
) -> Sample | None:
    name, subset = _name(item), item.get("subset", "")
    if not name:
        faults.fatal.append(f"{file}: image {item.get('id', '?')} has no name")
        return None
    pictures = file.parent / "images"
    path = locate_picture([pictures / subset, pictures, file.parent], name)
    size = picture_size(path, faults)
    if size is None:
        return None
    boxes: list[TrueBox] = []
    ignored: list[Box] = []
    for number, mark in enumerate(item, start=1):
        where = f"{file}: image {name!r}: {mark.tag} {number}"
        read = _mark(mark, size, labels, where, faults)
        if read is not None and _is_ignored(mark):
            ignored.append(read.box)
        elif read is not None:
            boxes.append(read)
    return Sample(path, group, *size, tuple(boxes), tuple(ignored), part_named(subset))


def _mark(
    mark: ET.Element, size: tuple[int, int], labels: tuple[str, ...], where: str, faults: FaultBook
) -> TrueBox | None:
    label = mark.get("label", "")
    if label not in labels:
        faults.fatal.append(f"{where}: label {label!r} is not listed")
        return None
    if mark.tag == "tag":
        return whole_picture(*size, labels.index(label))
    try:
        written = _written(mark)
    except ValueError as error:
        faults.fatal.append(f"{where}: {error}")
        return None
    if written is None:
        faults.mended.append(f"{where}: this kind of mark is no box; dropped")
        return None
    box = faults.checked_box(written, *size, where)
    return TrueBox(box, labels.index(label)) if box is not None else None


def _written(mark: ET.Element) -> Box | None:
    """Return the box of a mark, or the one around it; None for masks, ellipses and the like."""
    if mark.tag == "box":
        box = Box(*(float(mark.get(side, "nan")) for side in SIDES))
        return box_around_turned(box, float(mark.get("rotation", "0")), box.center)
    if mark.tag not in _BORDERED:
        return None
    points = [[float(v) for v in p.split(",")] for p in mark.get("points", "").split(";")]
    if not points or any(len(point) != 2 for point in points):  # noqa: PLR2004 - x and y
        raise ValueError("points must be `x,y;x,y;...`")
    return box_around(Point(*point) for point in points)


def _is_ignored(mark: ET.Element) -> bool:
    return any(
        item.get("name") == IGNORED and (item.text or "").strip() == "true"
        for item in mark.iter("attribute")
    )
