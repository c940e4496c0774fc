"""Write Label Studio JSON; see :mod:`edgehaul_tools.dataset.label_studio`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote

import msgspec

from edgehaul.geometry import Box
from edgehaul_tools.dataset.label_studio import CONFIG_FILE, IGNORED
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.dataset.xml_file import write_xml

_FROM, _TO = "label", "image"


def write_label_studio(dataset: DetectionDataset, file: Path, *, predicted: bool = False) -> None:
    """Write tasks for Label Studio, and ``label_config.xml`` with the labels beside them.

    Pictures are named as Label Studio's local storage serves them, relative to the folder of
    the file: set ``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT`` to that folder.

    Args:
        dataset: Its pictures lie below the folder of the file.
        file: The JSON file.
        predicted: Write the marks as a model's, for people to correct.
    """
    tasks = [
        _task(number, sample, dataset, file.parent, predicted=predicted)
        for number, sample in enumerate(dataset.samples, start=1)
    ]
    file.write_bytes(msgspec.json.format(msgspec.json.encode(tasks), indent=1))
    write_xml(_config(dataset), file.parent / CONFIG_FILE)


def _task(
    number: int, sample: Sample, dataset: DetectionDataset, folder: Path, *, predicted: bool
) -> dict[str, object]:
    name = sample.path.relative_to(folder).as_posix()
    data = {
        "image": f"/data/local-files/?d={quote(name)}",
        "group": sample.group,
        "part": sample.part,
    }
    results = _results(sample, dataset)
    if predicted:
        return {
            "id": number,
            "data": data,
            "predictions": [{"model_version": "edgehaul", "result": results}],
        }
    return {"id": number, "data": data, "annotations": [{"result": results}]}


def _results(sample: Sample, dataset: DetectionDataset) -> list[dict[str, object]]:
    size = {"original_width": sample.width, "original_height": sample.height}
    ends: dict[str, object] = {"from_name": _FROM, "to_name": _TO, **size}
    if dataset.task == "classify":
        names = [dataset.labels[mark.class_id] for mark in sample.boxes]
        return [{"id": "1", "type": "choices", **ends, "value": {"choices": names}}]
    marks: list[tuple[Box, str, dict[str, object]]] = [
        (mark.box, dataset.labels[mark.class_id], {}) for mark in sample.boxes
    ]
    note: dict[str, object] = {"meta": {"text": [IGNORED]}}
    marks += [(box, dataset.labels[0], note) for box in sample.ignored]
    return [
        {
            "id": str(number),
            "type": "rectanglelabels",
            **ends,
            "value": _value(box, label, sample),
            **more,
        }
        for number, (box, label, more) in enumerate(marks, start=1)
    ]


def _value(box: Box, label: str, sample: Sample) -> dict[str, object]:
    across, down = 100 / sample.width, 100 / sample.height
    return {
        "x": box.x1 * across,
        "y": box.y1 * down,
        "width": box.width * across,
        "height": box.height * down,
        "rotation": 0,
        "rectanglelabels": [label],
    }


def _config(dataset: DetectionDataset) -> ET.Element:
    root = ET.Element("View")
    ET.SubElement(root, "Image", {"name": _TO, "value": "$image"})
    classify = dataset.task == "classify"
    group, item = ("Choices", "Choice") if classify else ("RectangleLabels", "Label")
    labels = ET.SubElement(root, group, {"name": _FROM, "toName": _TO})
    for label in dataset.labels:
        ET.SubElement(labels, item, {"value": label})
    return root
