"""YOLO: one text file for each picture, ``class cx cy w h`` as shares of its size."""

from __future__ import annotations

from pathlib import Path

import yaml

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.pictures import find_pictures, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox

_YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NAME_FILES = ("obj.names", "classes.txt", "labels.txt")
_BOX_FIELDS = 5
_SEGMENT_FIELDS = 7


def is_yolo(root: Path) -> bool:
    """Return whether a folder looks like a YOLO dataset."""
    return any((root / name).is_file() for name in (*_YAML_FILES, *_NAME_FILES))


def read_yolo(root: Path) -> DetectionDataset:
    """Read a YOLO dataset with all its parts (train, val, test).

    ``images/a/b.jpg`` is marked in ``labels/a/b.txt``, or in ``b.txt`` beside it. A picture
    without a text file shows background. Segments are read as the boxes around them.

    Args:
        root: Folder with ``data.yaml`` (``names:``) or ``obj.names`` or ``classes.txt``.

    Raises:
        DatasetError: The names of the classes are missing, or it has fatal faults.
    """
    labels = _labels(root)
    faults = FaultBook()
    paths = find_pictures(root)
    samples = []
    for path, group in zip(paths, guess_groups(paths), strict=True):
        size = picture_size(path, faults)
        if size is not None:
            boxes = _boxes(_label_file(root, path), size, len(labels), faults)
            samples.append(Sample(path, group, *size, boxes))
    faults.raise_fatal(root)
    return DetectionDataset(root, labels, tuple(samples), tuple(faults.mended))


def _labels(root: Path) -> tuple[str, ...]:
    for name in _YAML_FILES:
        if (root / name).is_file():
            return _yaml_names(root / name)
    for name in _NAME_FILES:
        if (root / name).is_file():
            lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    raise DatasetError(
        "nothing names the classes of this YOLO dataset",
        where=root,
        remedy="write data.yaml with a list `names:` into this folder",
    )


def _yaml_names(path: Path) -> tuple[str, ...]:
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise DatasetError(
            f"this is no YAML: {reason}", where=path, remedy="mend the file"
        ) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(
            "`names:` must list the classes, or map 0, 1, 2, ... to them",
            where=path,
            remedy="write names: [first, second]",
        )
    return tuple(str(name) for name in names)


def _label_file(root: Path, picture: Path) -> Path:
    """Return where a picture's marks are: ``images`` in its path becomes ``labels``."""
    parts = list(picture.relative_to(root).with_suffix(".txt").parts)
    if "images" in parts:
        parts[parts.index("images")] = "labels"
    return root.joinpath(*parts)


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
    class_id, values = int(fields[0]), [float(field) for field in fields[1:]]
    if len(fields) >= _SEGMENT_FIELDS and len(fields) % 2:
        xs, ys = values[0::2], values[1::2]
        return class_id, Box(min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height)
    if len(fields) != _BOX_FIELDS:
        raise ValueError(f"{len(fields)} fields; `class cx cy w h` are needed")
    cx, cy, w, h = values
    return class_id, Box(
        (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height
    )
