"""Write a dataset in a form that other tools read: a directory, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.coco import write_coco_parts
from edgehaul_tools.dataset.csv_table import write_table
from edgehaul_tools.dataset.cvat import CVAT_FILE
from edgehaul_tools.dataset.cvat_write import write_cvat
from edgehaul_tools.dataset.image_folder import folder_name, holds_parts, write_image_folder
from edgehaul_tools.dataset.label_studio import TASKS_FILE
from edgehaul_tools.dataset.label_studio_write import write_label_studio
from edgehaul_tools.dataset.new_directory import new_directory
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.placing import Link, own_names, place_pictures
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.dataset.voc import PICTURES, write_voc
from edgehaul_tools.dataset.yolo import write_yolo

Layout = Callable[[DetectionDataset, Sample, PurePath], PurePath]
"""Where a form wants a picture, given the path that it has among the others."""

Finish = Callable[[DetectionDataset, Path], None]
"""Given the dataset with its pictures in their places, and the directory that is being made."""


@dataclass(frozen=True)
class Writer:
    """How a form is written.

    Attributes:
        layout: Where the pictures go.
        write: Writes the marks of pictures that are in their places.
        stems: Whether the marks of a picture are found by its name without suffix.
        boxes: Whether it can hold marks of parts of a picture.
        ignored: Whether it can hold ignored marks.
        groups: Whether it can name the group of a picture.
        unlabelled: Whether it can hold pictures without any classes.
    """

    layout: Layout
    write: Callable[[DetectionDataset, Path], None]
    stems: bool = False
    boxes: bool = True
    ignored: bool = True
    groups: bool = False
    unlabelled: bool = True


@dataclass(frozen=True)
class Exported:
    """What came of an export.

    Attributes:
        form: The form.
        images: Number of pictures.
        objects: Number of marks.
        lost: What the form cannot hold, one line each.
    """

    form: str
    images: int
    objects: int
    lost: tuple[str, ...]


def export_dataset(
    dataset: DetectionDataset,
    form: str,
    out: Path,
    link: Link = "copy",
    progress: Progress | None = None,
    finish: Finish | None = None,
) -> Exported:
    """Write a dataset with its pictures in another form.

    Args:
        dataset: To write.
        form: One of ``WRITERS``.
        out: The new directory.
        link: Whether pictures are copied or linked.
        progress: Told of each picture.
        finish: Writes what else belongs into the directory before it is put in its place.

    Raises:
        UsageError: There is no such form.
        DatasetError: The form cannot hold the dataset, or ``out`` cannot be written.
    """
    writer = writer_of(dataset, form)
    with new_directory(out) as folder:
        placed = place_pictures(dataset, _targets(dataset, writer, folder), link, progress)
        writer.write(placed, folder)
        if finish:
            finish(placed, folder)
    return report_of(dataset, form)


def writer_of(dataset: DetectionDataset, form: str) -> Writer:
    """Return how a form is written.

    Raises:
        UsageError: There is no such form.
        DatasetError: The form cannot hold the dataset.
    """
    if form not in WRITERS:
        raise UsageError(
            f"there is no form {form!r} to write", remedy=f"choose of {', '.join(WRITERS)}"
        )
    writer = WRITERS[form]
    if not dataset.labels and not writer.unlabelled:
        raise DatasetError(
            f"the form {form} needs classes, and here are none",
            where=dataset.root,
            remedy="choose another form, such as coco",
        )
    marked = any(sample.boxes or sample.ignored for sample in dataset.samples)
    if marked and not writer.boxes and dataset.task != "classify":
        raise DatasetError(
            f"the form {form} holds one class for each picture, and here are boxes",
            where=dataset.root,
            remedy=f"choose of {', '.join(name for name, w in WRITERS.items() if w.boxes)}",
        )
    return writer


def report_of(dataset: DetectionDataset, form: str) -> Exported:
    """Return what an export is, and what it would lose."""
    writer = WRITERS[form]
    ignored = sum(len(sample.ignored) for sample in dataset.samples)
    lost = [f"{ignored} ignored marks"] if ignored and not writer.ignored else []
    if form == "folder" and not holds_parts(dataset) and any(s.part for s in dataset.samples):
        lost.append("the parts: some pictures have none, or none is for training")
    if not writer.groups and len({s.group for s in dataset.samples}) < len(dataset):
        lost.append("the names of the groups")
    objects = sum(len(sample.boxes) for sample in dataset.samples)
    return Exported(form, len(dataset), objects, tuple(lost))


def _targets(dataset: DetectionDataset, writer: Writer, folder: Path) -> list[Path]:
    names = own_names(dataset.samples)
    wanted = [
        writer.layout(dataset, sample, name)
        for sample, name in zip(dataset.samples, names, strict=True)
    ]
    return [folder / name for name in _unlike(wanted, stems=writer.stems)]


def _unlike(names: Sequence[PurePath], *, stems: bool) -> list[PurePath]:
    """Return the names, with a number behind those that are taken."""
    taken: set[PurePath] = set()
    unlike = []
    for name in names:
        new, number = name, 1
        while (new.with_suffix("") if stems else new) in taken:
            number += 1
            new = name.with_stem(f"{name.stem}_{number}")
        taken.add(new.with_suffix("") if stems else new)
        unlike.append(new)
    return unlike


def _images(_dataset: DetectionDataset, _sample: Sample, name: PurePath) -> PurePath:
    return PurePath("images", name)


def _by_part(_dataset: DetectionDataset, sample: Sample, name: PurePath) -> PurePath:
    """Leave no other ``images`` and no other part in the path, which would mislead readers."""
    folders = [f for f in name.parts[:-1] if f != "images" and not part_named(f)]
    return PurePath("images", sample.part, *folders, name.name)


def _flat(_dataset: DetectionDataset, _sample: Sample, name: PurePath) -> PurePath:
    return PurePath(PICTURES, name.name)


def _by_class(dataset: DetectionDataset, sample: Sample, name: PurePath) -> PurePath:
    label = "" if sample.class_id is None else folder_name(dataset, sample.class_id)
    part = sample.part if holds_parts(dataset) else ""
    return PurePath(part, label, name.name)


def _cvat(dataset: DetectionDataset, folder: Path) -> None:
    write_cvat(dataset, folder / CVAT_FILE)


def _label_studio(dataset: DetectionDataset, folder: Path) -> None:
    write_label_studio(dataset, folder / TASKS_FILE)


WRITERS: dict[str, Writer] = {
    "coco": Writer(_images, write_coco_parts, groups=True),
    "voc": Writer(_flat, write_voc, stems=True),
    "yolo": Writer(_by_part, write_yolo, stems=True, ignored=False, unlabelled=False),
    "cvat": Writer(_images, _cvat),
    "label-studio": Writer(_images, _label_studio, groups=True),
    "folder": Writer(_by_class, write_image_folder, boxes=False, ignored=False),
    "csv": Writer(_images, write_table, boxes=False, ignored=False, groups=True),
}
