"""Folders of pictures: one folder for each class, or one folder without any marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.csv_table import unread_tables
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.label_names import read_label_names, write_label_names
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.pictures import find_pictures, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, whole_picture


def read_image_folder(root: Path) -> DetectionDataset:
    """Read a folder of pictures.

    Where all folders at the top are parts (``train``, ``val``, ``test``), ``train`` among them,
    the rest is read below them. Where every picture lies in a sub-folder, the names of these
    are the labels and each picture has one box as large as itself. Otherwise there are no
    labels and no boxes, which serves calibration; so it is where that one sub-folder is called
    ``images``, which is no class. ``labels.txt`` gives the labels another order than the
    alphabet's.

    Raises:
        DatasetError: It has fatal faults.
    """
    faults = FaultBook()
    paths = find_pictures(root)
    names = [PurePath(path).relative_to(root) for path in paths]
    parts, below = _divided(names)
    marked = _name_classes(root, below)
    if not marked:
        faults.mended += unread_tables(root)
    labels = _labels(root, below, faults) if marked else ()
    groups = guess_groups(names, folders_tell=not marked)
    samples = []
    for path, name, part, group in zip(paths, below, parts, groups, strict=True):
        size = picture_size(path, faults)
        if size is None:
            continue
        listed = marked and name.parts[0] in labels
        boxes = (whole_picture(*size, labels.index(name.parts[0])),) if listed else ()
        samples.append(Sample(path, group, *size, boxes, part=part))
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def write_image_folder(dataset: DetectionDataset, folder: Path) -> None:
    """Write ``labels.txt`` for pictures that lie in the folders of their classes."""
    if dataset.labels:
        write_label_names(folder, dataset.labels)


def holds_parts(dataset: DetectionDataset) -> bool:
    """Return whether folders called as the parts would be read as these."""
    parts = {sample.part for sample in dataset.samples}
    return "train" in parts and "" not in parts


def folder_name(dataset: DetectionDataset, class_id: int) -> str:
    """Return what the folder of a class is called.

    Raises:
        DatasetError: The class's name cannot be that of a folder, or would be read as a part.
    """
    label = dataset.labels[class_id]
    only_parts = all(part_named(name) for name in dataset.labels)
    if label in {"", ".", ".."} or "/" in label or "\0" in label or label[0] == "." or only_parts:
        raise DatasetError(
            f"the class {label!r} cannot be called so as a folder",
            where=dataset.root,
            remedy="rename the class, or choose another form",
        )
    return label


def _divided(names: Sequence[PurePath]) -> tuple[list[Part], list[PurePath]]:
    """Return each picture's part and what is left of its path below that."""
    parts = [part_named(name.parts[0]) if len(name.parts) > 1 else "" for name in names]
    if "train" not in parts or not all(parts):
        return [""] * len(names), list(names)
    return parts, [name.relative_to(name.parts[0]) for name in names]


def _name_classes(root: Path, below: Sequence[PurePath]) -> bool:
    """Return whether the folders of the pictures are called as classes."""
    if not below or any(len(name.parts) == 1 for name in below):
        return False
    names = {name.parts[0] for name in below}
    return names != {"images"} or names <= set(read_label_names(root) or ())


def _labels(root: Path, below: Sequence[PurePath], faults: FaultBook) -> tuple[str, ...]:
    found = sorted({name.parts[0] for name in below})
    listed = read_label_names(root)
    if listed is None:
        return tuple(found)
    faults.fatal += [
        f"{root}: the folder {name!r} is no class of labels.txt"
        for name in found
        if name not in listed
    ]
    return listed
