"""Write CVAT for images 1.1; see :mod:`edgehaul_tools.dataset.cvat`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from edgehaul.geometry import Box
from edgehaul_tools.dataset.cvat import IGNORED, SIDES
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.dataset.xml_file import text_element, write_xml

_VERSION = "1.1"
_SUBSETS = {"train": "Train", "val": "Validation", "test": "Test", "": "default"}


def write_cvat(dataset: DetectionDataset, file: Path) -> None:
    """Write the marks of pictures for CVAT to read ("upload annotations").

    Args:
        dataset: Its pictures lie in ``images`` beside the file, or anywhere: CVAT finds them
            by their names.
        file: The XML file.
    """
    root = ET.Element("annotations")
    text_element(root, "version", _VERSION)
    labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
    for name in dataset.labels:
        text_element(ET.SubElement(labels, "label"), "name", name)
    folder = file.parent / "images"
    for number, sample in enumerate(dataset.samples):
        inside = sample.path.is_relative_to(folder)
        name = sample.path.relative_to(folder).as_posix() if inside else sample.path.name
        root.append(_image(number, name, sample, dataset))
    write_xml(root, file)


def _image(number: int, name: str, sample: Sample, dataset: DetectionDataset) -> ET.Element:
    fields = {
        "id": str(number),
        "name": name,
        "subset": _SUBSETS[sample.part],
        "width": str(sample.width),
        "height": str(sample.height),
    }
    item = ET.Element("image", fields)
    if dataset.task == "classify":
        for mark in sample.boxes:
            ET.SubElement(item, "tag", {"label": dataset.labels[mark.class_id], "source": "file"})
        return item
    for mark in sample.boxes:
        _box(item, mark.box, dataset.labels[mark.class_id])
    for box in sample.ignored:
        element = _box(item, box, dataset.labels[0])
        ET.SubElement(element, "attribute", {"name": IGNORED}).text = "true"
    return item


def _box(item: ET.Element, box: Box, label: str) -> ET.Element:
    corners = (box.x1, box.y1, box.x2, box.y2)
    sides = {side: f"{value:.8g}" for side, value in zip(SIDES, corners, strict=True)}
    return ET.SubElement(item, "box", {"label": label, "occluded": "0", **sides, "z_order": "0"})
