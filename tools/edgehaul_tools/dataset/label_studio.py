"""Label Studio: a JSON list of tasks, boxes in per cent (labelstud.io/guide/task_format)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box, Point
from edgehaul_tools.dataset.envelope import box_around, box_around_turned
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.label_studio_tasks import (
    LsResult,
    LsTask,
    LsValue,
    answer_of,
    decode_tasks,
    is_tasks,
    label_of,
    picture_name,
    value_of,
)
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.picture_classes import with_one_class
from edgehaul_tools.dataset.pictures import is_there, locate_picture, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox, whole_picture
from edgehaul_tools.dataset.xml_file import read_xml

TASKS_FILE, CONFIG_FILE = "tasks.json", "label_config.xml"
IGNORED = "ignored"
"""A note on a region that is EdgeHaul's own."""

_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""


def find_label_studio(root: Path) -> Path | None:
    """Return the export of Label Studio, given the folder or the file."""
    if root.is_file():
        return root if root.suffix.lower() == ".json" and is_tasks(root) else None
    return next((file for file in sorted(root.glob("*.json")) if is_tasks(file)), None)


def read_label_studio(root: Path) -> DetectionDataset:
    """Read an export of Label Studio ("JSON", not "JSON-MIN"), or tasks that a model marked.

    Of several answers to a task the one marked as ground truth counts, or else the last one
    that was not cancelled; where nobody answered, the last model's. Polygons are read as the
    boxes around them, a choice is the class of the whole picture. Where all marks are choices,
    pictures without one are left out. The order of the labels is that of ``label_config.xml``
    where it is there.

    Args:
        root: The JSON file, or a folder with one; the pictures lie beside it or in ``images``.

    Raises:
        DatasetError: There is no such file, or it has fatal faults.
    """
    file = find_label_studio(root)
    if file is None:
        raise DatasetError(
            "there is no export of Label Studio here", where=root, remedy="export it as JSON"
        )
    tasks = sorted(decode_tasks(file), key=picture_name)
    labels = _labels(file.parent, tasks)
    faults = FaultBook()
    guessed = guess_groups([PurePath(picture_name(task)) for task in tasks])
    read = [
        _sample(task, group, file, labels, faults)
        for task, group in zip(tasks, guessed, strict=True)
    ]
    samples = [sample for sample in read if sample is not None]
    if _kinds(tasks) == {"choices"}:
        samples = with_one_class(samples, labels, root, faults)
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def _kinds(tasks: Sequence[LsTask]) -> set[str]:
    """Return of which kinds the marks are that are read."""
    results = (result for task in tasks for result in answer_of(task))
    return {result.type for result in results if label_of(result) is not None}


def _labels(folder: Path, tasks: Sequence[LsTask]) -> tuple[str, ...]:
    config = folder / CONFIG_FILE
    if config.is_file():
        marks = read_xml(config).iter()
        named = [(m.tag, m.get("value", "")) for m in marks if m.get("value")]
        regions = [name for tag, name in named if tag == "Label"]
        # Where parts of the picture have labels, choices are attributes of these.
        return tuple(dict.fromkeys(regions or [name for tag, name in named if tag == "Choice"]))
    found = {label_of(result) for task in tasks for result in answer_of(task)}
    return tuple(sorted(label for label in found if label is not None))


def _sample(
    task: LsTask, group: str, file: Path, labels: tuple[str, ...], faults: FaultBook
) -> Sample | None:
    name = picture_name(task)
    if not name:
        faults.fatal.append(f"{file}: task {task.id} names no picture")
        return None
    path = _locate(file.parent, name)
    size = picture_size(path, faults)
    if size is None:
        return None
    boxes: list[TrueBox] = []
    ignored: list[Box] = []
    for number, result in enumerate(answer_of(task), start=1):
        mark = _mark(result, size, labels, f"{file}: {name}: mark {number}", faults)
        if mark is not None and _is_ignored(result):
            ignored.append(mark.box)
        elif mark is not None:
            boxes.append(mark)
    whose, part = (_text(task.data, key) for key in ("group", "part"))
    part_of = part_named(part)
    return Sample(path, whose or group, *size, tuple(boxes), tuple(ignored), part_of)


def _is_ignored(result: LsResult) -> bool:
    notes = result.meta.get("text") if isinstance(result.meta, dict) else None
    return isinstance(notes, list) and IGNORED in notes


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _locate(folder: Path, name: str) -> Path:
    return locate_picture([folder, folder / "images"], next(_found(folder, name), name))


def _found(folder: Path, name: str) -> Iterator[str]:
    """Yield the ends of a path that are pictures here: the longest, so that the others wait."""
    parts = [part for part in PurePath(name).parts if part not in {"/", ".."}]
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    ends += [_UPLOADED.sub("", parts[-1])] if parts else []
    for end in ends:
        places = (folder / end, folder / "images" / end)
        if any(is_there(place) and place.is_file() for place in places):
            yield end


def _mark(
    result: LsResult,
    size: tuple[int, int],
    labels: tuple[str, ...],
    where: str,
    faults: FaultBook,
) -> TrueBox | None:
    label, value = label_of(result), value_of(result)
    if label is None or value is None:
        faults.mended.append(f"{where}: {result.type or 'it'} is no box with one label; dropped")
        return None
    if label not in labels:
        faults.fatal.append(f"{where}: label {label!r} is not in {CONFIG_FILE}")
        return None
    if result.type == "choices":
        return whole_picture(*size, labels.index(label))
    box = faults.checked_box(_written(value, size), *size, where)
    return TrueBox(box, labels.index(label)) if box is not None else None


def _written(value: LsValue, size: tuple[int, int]) -> Box:
    width, height = size[0] / 100, size[1] / 100
    if value.points:
        return box_around(Point(x * width, y * height) for x, y in value.points)
    left_top = Point(value.x * width, value.y * height)
    right, bottom = (value.x + value.width) * width, (value.y + value.height) * height
    box = Box(left_top.x, left_top.y, right, bottom)
    # Label Studio turns a box about its first corner, not about its middle.
    return box_around_turned(box, value.rotation, left_top)
