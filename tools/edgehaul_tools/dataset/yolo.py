"""YOLO: one text file for each picture, ``class cx cy w h`` as shares of its size."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePath

import yaml

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.label_names import LABEL_FILES, read_label_names
from edgehaul_tools.dataset.parts import PARTS, part_in_path
from edgehaul_tools.dataset.pictures import find_files, find_pictures, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox
from edgehaul_tools.dataset.yolo_parts import listed_parts

_YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_BOX_FIELDS = 5
_SEGMENT_FIELDS = 7


def is_yolo(root: Path) -> bool:
    """Return whether a folder looks like a YOLO dataset."""
    if _yaml_file(root) is not None:
        return True
    listed = any((root / name).is_file() for name in LABEL_FILES)
    return listed and any(path.name not in LABEL_FILES for path in find_files(root, {".txt"}))


def read_yolo(root: Path) -> DetectionDataset:
    """Read a YOLO dataset with all its parts (train, val, test).

    ``images/a/b.jpg`` is marked in ``labels/a/b.txt``, ``a/b.jpg`` in ``a/b.txt``. A picture
    without a text file shows background. Segments are read as the boxes around them. The part
    of a picture is the one that ``data.yaml`` lists it in, or else the one that its folders
    are called.

    Args:
        root: Folder with ``data.yaml`` (``names:``) or ``obj.names`` or ``classes.txt``.

    Raises:
        DatasetError: The names of the classes are missing, or it has fatal faults.
    """
    file = _yaml_file(root)
    content = _yaml(file) if file else {}
    labels = _yaml_names(file, content) if file else _listed_names(root)
    faults = FaultBook()
    given = listed_parts(root, content, faults)
    paths = sorted({*find_pictures(root), *given})
    names = [_relative(path, root) for path in paths]
    samples = []
    for path, name, group in zip(paths, names, guess_groups(names), strict=True):
        size = picture_size(path, faults)
        if size is not None:
            boxes = _boxes(_marked_in(path, name), size, len(labels), faults)
            part = given.get(path) or part_in_path(name)
            samples.append(Sample(path, group, *size, boxes, part=part))
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def write_yolo(dataset: DetectionDataset, folder: Path) -> None:
    """Write ``data.yaml`` and the text files of pictures that lie below ``folder/images``.

    The ignored marks of a sample have no place in this form.
    """
    for sample in dataset.samples:
        file = label_file(sample.path, sample.path.relative_to(folder))
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [_line(mark, sample.width, sample.height) for mark in sample.boxes]
        file.write_text("".join(lines), encoding="ascii")
    there: list[Part] = [p for p in PARTS if any(s.part == p for s in dataset.samples)]
    content: dict[str, object] = {part: f"images/{part}" for part in there}
    content["names"] = dict(enumerate(dataset.labels))
    text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
    (folder / _YAML_FILES[0]).write_text(text, encoding="utf-8")


def label_file(picture: Path, name: PurePath) -> Path:
    """Return where a picture's marks belong: the last ``images`` in its path becomes ``labels``.

    Args:
        picture: The picture's file.
        name: Its end that belongs to the dataset: an ``images`` further up is somebody's own.
    """
    return _label_files(picture, name)[-1]


def _marked_in(picture: Path, name: PurePath) -> Path:
    """Return the file of a picture's marks that is there, or where they belong."""
    files = _label_files(picture, name)
    return next((file for file in reversed(files) if file.is_file()), files[-1])


def _label_files(picture: Path, name: PurePath) -> list[Path]:
    """Return the path with each ``images`` in turn replaced: all tools but few mean the last."""
    parts = [part for part in name.with_suffix(".txt").parts if part != ".."]
    above = picture.parts[: len(picture.parts) - len(parts)]
    places = [place for place, part in enumerate(parts) if part == "images"]
    files = [Path(*above, *parts[:at], "labels", *parts[at + 1 :]) for at in places]
    return files or [Path(*above, *parts)]


def _relative(path: Path, root: Path) -> PurePath:
    return PurePath(os.path.relpath(path, root))


def _yaml_file(root: Path) -> Path | None:
    return next((root / name for name in _YAML_FILES if (root / name).is_file()), None)


def _yaml(path: Path) -> Mapping[str, object]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"this is no YAML: {reason}", where=path, remedy="mend the file"
        ) from error
    return content if isinstance(content, dict) else {}


def _yaml_names(path: Path, content: Mapping[str, object]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(
            "`names:` must list the classes, or map 0, 1, 2, ... to them",
            where=path,
            remedy="write names: [first, second]",
        )
    return tuple(str(name) for name in names)


def _listed_names(root: Path) -> tuple[str, ...]:
    names = read_label_names(root)
    if not names:
        raise DatasetError(
            "nothing names the classes of this YOLO dataset",
            where=root,
            remedy="write data.yaml with a list `names:` into this folder",
        )
    return names


def _line(mark: TrueBox, width: int, height: int) -> str:
    center, box = mark.box.center, mark.box
    shares = (center.x / width, center.y / height, box.width / width, box.height / height)
    return f"{mark.class_id} " + " ".join(f"{share:.8g}" for share in shares) + "\n"


def _boxes(
    file: Path, size: tuple[int, int], classes: int, faults: FaultBook
) -> tuple[TrueBox, ...]:
    if not file.is_file():
        return ()
    boxes = []
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            class_id, written = _parse(line.split(), size)
        except ValueError as error:
            faults.fatal.append(f"{where}: {error}")
            continue
        if not 0 <= class_id < classes:
            faults.fatal.append(f"{where}: class {class_id} is not in 0..{classes - 1}")
            continue
        box = faults.checked_box(written, *size, where)
        if box is not None:
            boxes.append(TrueBox(box, class_id))
    return tuple(boxes)


def _parse(fields: list[str], size: tuple[int, int]) -> tuple[int, Box]:
    width, height = size
    class_id, values = _class_id(fields[0]), [_number(field) for field in fields[1:]]
    if len(fields) >= _SEGMENT_FIELDS and len(fields) % 2:
        xs, ys = values[0::2], values[1::2]
        return class_id, Box(min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)
    if len(fields) != _BOX_FIELDS:
        raise ValueError(f"{len(fields)} fields; `class cx cy w h` are needed")
    cx, cy, w, h = values
    return class_id, Box(
        (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
    )


def _class_id(text: str) -> int:
    """Return the number of a class, which arrays of numbers hold as ``3.0``."""
    value = _number(text)
    if not value.is_integer():
        raise ValueError(f"class {text!r} is no whole number")
    return int(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no number") from error
