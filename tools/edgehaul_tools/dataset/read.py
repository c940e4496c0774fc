"""Read a dataset in any form that EdgeHaul knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.coco import read_coco
from edgehaul_tools.dataset.coco_files import find_annotations
from edgehaul_tools.dataset.csv_table import find_table, read_table
from edgehaul_tools.dataset.cvat import find_cvat, read_cvat
from edgehaul_tools.dataset.idx import find_idx
from edgehaul_tools.dataset.image_folder import read_image_folder
from edgehaul_tools.dataset.label_studio import find_label_studio, read_label_studio
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.video_frames import find_videos
from edgehaul_tools.dataset.voc import find_xml, read_voc
from edgehaul_tools.dataset.yolo import is_yolo, read_yolo

READERS: dict[str, Callable[[Path], DetectionDataset]] = {
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "folder": read_image_folder,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "csv": read_table,
}
_SIGNS: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("coco", find_annotations),
    ("label-studio", find_label_studio),
    ("cvat", find_cvat),
    ("voc", find_xml),
    ("yolo", is_yolo),
    ("csv", find_table),
    ("idx", find_idx),
    ("video", find_videos),
)
"""What tells each form by its files, in the order in which they are asked."""
_FILES = {".json": "coco", ".xml": "cvat", ".csv": "csv", ".tsv": "csv"}
PACKED = ("idx", "video")
"""Forms whose pictures are no files yet: `edgehaul data import` makes them."""


def read_dataset(path: str | Path, form: str = "auto") -> DetectionDataset:
    """Read a dataset and check every picture and mark of it.

    Args:
        path: A folder, or the file with the marks.
        form: One of ``READERS``, or ``auto`` to tell by its files.

    Raises:
        UsageError: There is no such form.
        DatasetError: Nothing is there, or faults make it unusable; all are named at once.
    """
    root = Path(path)
    if form != "auto" and form not in READERS:
        raise UsageError(
            f"there is no form of dataset {form!r}", remedy=f"choose of auto, {', '.join(READERS)}"
        )
    if not root.exists():
        raise DatasetError("nothing is here", where=root, remedy="check the path of the dataset")
    told = detect_form(root) if form == "auto" else form
    if told in PACKED:
        raise DatasetError(
            "its pictures are not files of their own",
            where=root,
            remedy=f"run: edgehaul data import {root} --out FOLDER, and read that",
        )
    return checked_dataset(READERS[told](root))


def checked_dataset(dataset: DetectionDataset) -> DetectionDataset:
    """Return a dataset as it is.

    Raises:
        DatasetError: It has no pictures, or two classes of one name.
    """
    if not dataset.samples:
        raise DatasetError(
            "no pictures are here",
            where=dataset.root,
            remedy="give the folder that holds the dataset",
        )
    for label, count in Counter(dataset.labels).items():
        if count > 1:
            raise DatasetError(
                f"{count} classes are called {label!r}",
                where=dataset.root,
                remedy="give each class a name of its own",
            )
    return dataset


def detect_form(root: Path) -> str:
    """Return the form of a dataset, told by the files that are there."""
    if root.is_file():
        told = "label-studio" if find_label_studio(root) else "video" if find_videos(root) else ""
        return told or _FILES.get(root.suffix.lower(), "coco")
    return next((form for form, is_there in _SIGNS if is_there(root)), "folder")
