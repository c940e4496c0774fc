"""Write a model's marks for people to correct, in forms that `edgehaul data import` reads back."""

from __future__ import annotations

import csv
import dataclasses
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgehaul_tools.dataset.coco_files import ANNOTATIONS_FILE
from edgehaul_tools.dataset.cvat import CVAT_FILE
from edgehaul_tools.dataset.export_dataset import Exported, export_dataset
from edgehaul_tools.dataset.label_studio import TASKS_FILE
from edgehaul_tools.dataset.label_studio_write import write_label_studio
from edgehaul_tools.dataset.placing import Link, own_names
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.xml_file import read_xml, write_xml
from edgehaul_tools.label.marking import Marked

UNCERTAINTY_FILE = "uncertainty.csv"
_DIGITS = 4

_Scored = Callable[[DetectionDataset, Path, Sequence[Marked], Sequence[int]], None]
"""Adds the scores to a form's files, and puts the pictures into the given order."""


def write_tasks(
    marked: Sequence[Marked],
    dataset: DetectionDataset,
    form: str,
    out: Path,
    *,
    link: Link = "copy",
    uncertain_first: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Write pictures with a model's marks and scores.

    ``uncertainty.csv`` lists the pictures, the least sure first, in every form.

    Args:
        marked: The pictures with their marks.
        dataset: Where the pictures are from, with the model's labels.
        form: One of ``FORMS``. YOLO holds no scores.
        out: The new directory.
        link: Whether pictures are copied or linked.
        uncertain_first: Order the tasks so; else they are in the order of their paths.
        progress: Told of each picture.

    Raises:
        DatasetError: ``out`` is not empty, or cannot be written.
    """
    samples = tuple(item.sample for item in marked)
    of_name = dict(zip(map(str, own_names(samples)), marked, strict=True))

    def finish(placed: DetectionDataset, folder: Path) -> None:
        names = [sample.path.relative_to(folder / "images").as_posix() for sample in placed.samples]
        ordered = [of_name[name] for name in names]
        order = list(range(len(ordered)))
        if uncertain_first:
            order.sort(key=lambda place: -ordered[place].uncertainty)
        FORMS[form](placed, folder, ordered, order)
        _write_uncertainty(folder / UNCERTAINTY_FILE, names, ordered)

    content = dataclasses.replace(dataset, samples=samples)
    return export_dataset(content, form, out, link, progress, finish)


def _label_studio(
    placed: DetectionDataset, folder: Path, marked: Sequence[Marked], order: Sequence[int]
) -> None:
    file = folder / TASKS_FILE
    write_label_studio(placed, file, predicted=True)
    tasks: list[dict[str, Any]] = msgspec.json.decode(file.read_bytes())
    for task, item in zip(tasks, marked, strict=True):
        task["data"]["uncertainty"] = round(item.uncertainty, _DIGITS)
        (prediction,) = task["predictions"]
        prediction["score"] = round(min(item.scores, default=0.0), _DIGITS)
        for result, score in zip(prediction["result"], item.scores, strict=True):
            result["score"] = round(score, _DIGITS)
    tasks = [tasks[place] | {"id": number} for number, place in enumerate(order, start=1)]
    file.write_bytes(msgspec.json.format(msgspec.json.encode(tasks), indent=1))


def _cvat(
    _placed: DetectionDataset, folder: Path, marked: Sequence[Marked], order: Sequence[int]
) -> None:
    root = read_xml(folder / CVAT_FILE)
    images = root.findall("image")
    for image, item in zip(images, marked, strict=True):
        for mark, score in zip(image, item.scores, strict=True):
            mark.set("source", "auto")
            ET.SubElement(mark, "attribute", {"name": "score"}).text = f"{score:.{_DIGITS}f}"
    for image in images:
        root.remove(image)
    for number, place in enumerate(order):
        images[place].set("id", str(number))
        root.append(images[place])
    write_xml(root, folder / CVAT_FILE)


def _coco(
    _placed: DetectionDataset, folder: Path, marked: Sequence[Marked], order: Sequence[int]
) -> None:
    file = folder / ANNOTATIONS_FILE
    content: dict[str, list[dict[str, Any]]] = msgspec.json.decode(file.read_bytes())
    scores = [score for item in marked for score in item.scores]
    for annotation, score in zip(content["annotations"], scores, strict=True):
        annotation["score"] = round(score, _DIGITS)
    content["images"] = [content["images"][place] for place in order]
    file.write_bytes(msgspec.json.encode(content))


def _yolo(
    _placed: DetectionDataset, _folder: Path, _marked: Sequence[Marked], _order: Sequence[int]
) -> None:
    """Leave the files as they are: their lines have no place for a score."""


FORMS: dict[str, _Scored] = {
    "cvat": _cvat,
    "label-studio": _label_studio,
    "coco": _coco,
    "yolo": _yolo,
}


def _write_uncertainty(file: Path, names: Sequence[str], marked: Sequence[Marked]) -> None:
    rows = sorted(zip(names, marked, strict=True), key=lambda row: (-row[1].uncertainty, row[0]))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["picture", "uncertainty", "marks", "lowest_score"])
        for name, item in rows:
            lowest = f"{min(item.scores):.{_DIGITS}f}" if item.scores else ""
            writer.writerow([name, f"{item.uncertainty:.{_DIGITS}f}", len(item.scores), lowest])
