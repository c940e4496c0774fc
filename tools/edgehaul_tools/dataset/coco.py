"""COCO: one JSON file with images, categories and boxes, or one for each part."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePath

import msgspec

from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.coco_files import (
    ANNOTATIONS_FILE,
    Coco,
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    CocoInfo,
    CocoLicence,
    DescribedCoco,
    decode_coco,
    find_annotations,
    part_of_file,
    part_words,
)
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.pictures import locate_picture, picture_size
from edgehaul_tools.dataset.provenance import manifest_of_source
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, TrueBox

_PICTURE_FOLDERS = (".", "images", "../images", "..")


def read_coco(root: Path) -> DetectionDataset:
    """Read a COCO dataset; ``iscrowd`` boxes are ignored ones, ids may have gaps.

    Besides the standard's fields, ``group`` of an image names its camera, video or day, and
    ``part`` is train, val or test.

    Args:
        root: The JSON file, or a folder that holds exactly one, or one for each part, called
            so (``instances_train2017.json``, ``val.json``, ``test/_annotations.coco.json``).

    Raises:
        DatasetError: There is no such file or too many, or it has fatal faults.
    """
    files = _files(root)
    contents = [decode_coco(file) for file, _ in files]
    labels = _labels(root, contents)
    faults = FaultBook()
    samples = []
    for (file, part), content in zip(files, contents, strict=True):
        samples += _samples(content, file, part, faults)
    return faults.judged(DetectionDataset(root, labels, tuple(samples)))


def write_coco(dataset: DetectionDataset, path: Path) -> None:
    """Write a dataset as one COCO file; pictures are named relative to its folder."""
    path.write_bytes(msgspec.json.encode(coco_of(dataset, path.parent)))


def coco_of(dataset: DetectionDataset, folder: Path) -> Coco:
    """Return a dataset as the content of a file in this folder."""
    annotations: list[CocoAnnotation] = []
    images = []
    for image_id, sample in enumerate(dataset.samples, start=1):
        name = Path(os.path.relpath(sample.path, folder)).as_posix()
        size = (sample.width, sample.height)
        images.append(CocoImage(image_id, name, *size, sample.group, sample.part))
        marks = [(mark.box, mark.class_id + 1, 0) for mark in sample.boxes]
        marks += [(box, 1, 1) for box in sample.ignored]
        for box, category, crowd in marks:
            bbox = (box.x1, box.y1, box.width, box.height)
            number = len(annotations) + 1
            annotations.append(CocoAnnotation(image_id, category, bbox, crowd, number, box.area))
    categories = [CocoCategory(number, name) for number, name in enumerate(dataset.labels, start=1)]
    return Coco(images, categories, annotations)


def write_coco_parts(dataset: DetectionDataset, folder: Path) -> None:
    """Write one file for each part as other tools read them, or one where some have no part.

    They name the licence, if the manifest of the dataset that was read does.
    """
    if not all(sample.part for sample in dataset.samples):
        _write_described(dataset, folder / ANNOTATIONS_FILE)
        return
    (folder / "annotations").mkdir()
    for part in PARTS:
        samples = [sample for sample in dataset.samples if sample.part == part]
        if samples:
            file = folder / "annotations" / f"instances_{part}.json"
            _write_described(dataset.subset(samples), file)


def _write_described(dataset: DetectionDataset, path: Path) -> None:
    content = coco_of(dataset, path.parent)
    if manifest := manifest_of_source(dataset.root):
        origin = f", from {manifest.origin}" if manifest.origin else ""
        content = DescribedCoco(
            content.images,
            content.categories,
            content.annotations,
            info=CocoInfo(manifest.name + origin, manifest.version),
            licenses=[CocoLicence(1, manifest.licence)] if manifest.licence else [],
        )
    path.write_bytes(msgspec.json.encode(content))


def _files(root: Path) -> list[tuple[Path, Part]]:
    """Return the files, each with the part that it stands for."""
    files = find_annotations(root)
    if len(files) == 1:
        return [(files[0], part_of_file(files[0], root))]
    parts = [part_of_file(file, root) for file in files]
    if not files or not all(parts) or len(set(parts)) < len(parts):
        names = ", ".join(str(path.relative_to(root)) for path in files) or "none"
        raise DatasetError(
            f"one COCO file is needed here, or one for each part, found: {names}",
            where=root,
            remedy="give the path of the .json file itself",
        )
    return sorted(zip(files, parts, strict=True), key=lambda pair: PARTS.index(pair[1]))


def _labels(root: Path, contents: Sequence[Coco]) -> tuple[str, ...]:
    named = [tuple(c.name for c in sorted(content.categories, key=_id)) for content in contents]
    if len(set(named)) > 1:
        raise DatasetError(
            f"the parts have different classes: {' | '.join(map(', '.join, named))}",
            where=root,
            remedy="write the same categories into each file",
        )
    return named[0]


def _samples(content: Coco, file: Path, part: Part, faults: FaultBook) -> list[Sample]:
    class_ids = {c.id: number for number, c in enumerate(sorted(content.categories, key=_id))}
    by_image: dict[int, list[CocoAnnotation]] = defaultdict(list)
    for annotation in content.annotations:
        by_image[annotation.image_id].append(annotation)
    _check_numbers(content, file, faults)
    images = sorted(content.images, key=lambda image: image.file_name)
    guessed = guess_groups([PurePath(part, image.file_name) for image in images])
    folders = [file.parent / folder for folder in _PICTURE_FOLDERS]
    # COCO's own pictures lie in folders that are called as the part: `train2017`.
    folders += [folder / word for folder in folders for word in part_words(file)]
    samples = []
    for image, group in zip(images, guessed, strict=True):
        path = locate_picture(folders, image.file_name)
        size = picture_size(path, faults)
        if size is None:
            continue
        if image.width and (image.width, image.height) != size:
            faults.fatal.append(
                f"{path}: marked as {image.width}x{image.height}, but it is {size[0]}x{size[1]}"
            )
            continue
        boxes, ignored = _boxes(by_image[image.id], size, class_ids, path, faults)
        whose = image.group or group
        # What a file is called counts first: `edgehaul data split` divides divided ones anew.
        samples.append(Sample(path, whose, *size, boxes, ignored, part or image.part))
    return samples


def _check_numbers(content: Coco, file: Path, faults: FaultBook) -> None:
    faults.fatal += [
        f"{file}: the id {number} stands for more than one {what}"
        for what, numbers in (
            ("image", [image.id for image in content.images]),
            ("category", [category.id for category in content.categories]),
        )
        for number, count in Counter(numbers).items()
        if count > 1
    ]
    known = {image.id for image in content.images}
    strange = Counter(a.image_id for a in content.annotations if a.image_id not in known)
    faults.fatal += [
        f"{file}: {count} annotations of image {image_id}, which is not listed"
        for image_id, count in strange.items()
    ]


def _id(category: CocoCategory) -> int:
    return category.id


def _boxes(
    annotations: list[CocoAnnotation],
    size: tuple[int, int],
    class_ids: dict[int, int],
    path: Path,
    faults: FaultBook,
) -> tuple[tuple[TrueBox, ...], tuple[Box, ...]]:
    boxes, ignored = [], []
    for annotation in annotations:
        where = f"{path}: annotation {annotation.id}"
        class_id = class_ids.get(annotation.category_id)
        if class_id is None:
            faults.fatal.append(f"{where}: category {annotation.category_id} is not listed")
            continue
        box = faults.checked_box(Box.from_xywh(*annotation.bbox), *size, where)
        if box is not None and annotation.iscrowd:
            ignored.append(box)
        elif box is not None:
            boxes.append(TrueBox(box, class_id))
    return tuple(boxes), tuple(ignored)
