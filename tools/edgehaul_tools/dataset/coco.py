"""COCO: one JSON file with images, categories and boxes (cocodataset.org/#format-data)."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.pictures import picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox

_PICTURE_FOLDERS = (".", "images", "../images", "..")


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int = 0
    height: int = 0
    group: str = ""


class _Category(msgspec.Struct):
    id: int
    name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0
    id: int = 0
    area: float = 0.0


class _Coco(msgspec.Struct):
    images: list[_Image]
    categories: list[_Category]
    annotations: list[_Annotation] = []


def find_annotations(root: Path) -> list[Path]:
    """Return the JSON files that may be a COCO dataset's, given the folder or the file."""
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" else []
    found = sorted(root.glob("*.json")) + sorted((root / "annotations").glob("*.json"))
    return [path for path in found if '"images"' in _text(path) and '"categories"' in _text(path)]


def read_coco(root: Path) -> DetectionDataset:
    """Read a COCO dataset; ``iscrowd`` boxes are ignored ones, ids may have gaps.

    Besides the standard's fields, ``group`` of an image names its camera, video or day.

    Args:
        root: The JSON file, or a folder that holds exactly one.

    Raises:
        DatasetError: There is no such file or more than one, or it has fatal faults.
    """
    files = find_annotations(root)
    if len(files) != 1:
        names = ", ".join(str(path.relative_to(root)) for path in files) or "none"
        raise DatasetError(
            f"one COCO file is needed here, found: {names}",
            where=root,
            remedy="give the path of the .json file itself",
        )
    content = _decode(files[0])
    faults = FaultBook()
    samples = _samples(content, files[0], faults)
    faults.raise_fatal(root)
    labels = tuple(c.name for c in sorted(content.categories, key=lambda c: c.id))
    return DetectionDataset(root, labels, tuple(samples), tuple(faults.mended))


def write_coco(dataset: DetectionDataset, path: Path) -> None:
    """Write a dataset as one COCO file; pictures are named relative to its folder."""
    annotations: list[_Annotation] = []
    images = []
    for image_id, sample in enumerate(dataset.samples, start=1):
        name = Path(os.path.relpath(sample.path, path.parent)).as_posix()
        images.append(_Image(image_id, name, sample.width, sample.height, sample.group))
        marks = [(mark.box, mark.class_id + 1, 0) for mark in sample.boxes]
        marks += [(box, 1, 1) for box in sample.ignored]
        for box, category, crowd in marks:
            bbox = (box.x1, box.y1, box.width, box.height)
            number = len(annotations) + 1
            annotations.append(_Annotation(image_id, category, bbox, crowd, number, box.area))
    categories = [_Category(number, name) for number, name in enumerate(dataset.labels, start=1)]
    path.write_bytes(msgspec.json.encode(_Coco(images, categories, annotations)))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _decode(path: Path) -> _Coco:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Coco)
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"this is no COCO file: {error}",
            where=path,
            remedy="export it again as COCO detection (images, categories, annotations)",
        ) from error


def _samples(content: _Coco, file: Path, faults: FaultBook) -> list[Sample]:
    class_ids = {c.id: number for number, c in enumerate(sorted(content.categories, key=_id))}
    by_image: dict[int, list[_Annotation]] = defaultdict(list)
    for annotation in content.annotations:
        by_image[annotation.image_id].append(annotation)
    known = {image.id for image in content.images}
    faults.fatal += [
        f"{file}: the id {number} stands for more than one {what}"
        for what, numbers in (
            ("image", [image.id for image in content.images]),
            ("category", [category.id for category in content.categories]),
        )
        for number in _doubled(numbers)
    ]
    faults.fatal += [
        f"{file}: {len(marks)} annotations of image {image_id}, which is not listed"
        for image_id, marks in by_image.items()
        if image_id not in known
    ]
    images = sorted(content.images, key=lambda image: image.file_name)
    guessed = guess_groups([Path(image.file_name) for image in images])
    samples = []
    for image, group in zip(images, guessed, strict=True):
        path = _locate(file.parent, image.file_name)
        size = picture_size(path, faults)
        if size is None:
            continue
        if image.width and (image.width, image.height) != size:
            faults.fatal.append(
                f"{path}: marked as {image.width}x{image.height}, but it is {size[0]}x{size[1]}"
            )
            continue
        boxes, ignored = _boxes(by_image[image.id], size, class_ids, path, faults)
        samples.append(Sample(path, image.group or group, *size, boxes, ignored))
    return samples


def _doubled(numbers: list[int]) -> list[int]:
    return [number for number, count in Counter(numbers).items() if count > 1]


def _id(category: _Category) -> int:
    return category.id


def _locate(folder: Path, name: str) -> Path:
    """Return the first place where a picture is, or where it should be."""
    places = [folder / sub / name for sub in _PICTURE_FOLDERS]
    return next((place for place in places if place.is_file()), places[0])


def _boxes(
    annotations: list[_Annotation],
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
