"""Read a dataset in any form that EdgeHaul knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.coco import find_annotations, read_coco
from edgehaul_tools.dataset.image_folder import read_image_folder
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.voc import find_xml, read_voc
from edgehaul_tools.dataset.yolo import is_yolo, read_yolo

READERS: dict[str, Callable[[Path], DetectionDataset]] = {
    "coco": read_coco,
    "voc": read_voc,
    "yolo": read_yolo,
    "folder": read_image_folder,
}


def read_dataset(path: str | Path, form: str = "auto") -> DetectionDataset:
    """Read a dataset and check every picture and mark of it.

    Args:
        path: A folder, or a COCO file.
        form: ``coco``, ``voc``, ``yolo``, ``folder``, or ``auto`` to tell by its files.

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
    dataset = READERS[detect_form(root) if form == "auto" else form](root)
    if not dataset.samples:
        raise DatasetError(
            "no pictures are here", where=root, remedy="give the folder that holds the dataset"
        )
    for label, count in Counter(dataset.labels).items():
        if count > 1:
            raise DatasetError(
                f"{count} classes are called {label!r}",
                where=root,
                remedy="give each class a name of its own",
            )
    return dataset


def detect_form(root: Path) -> str:
    """Return the form of a dataset, told by the files that are there."""
    if root.is_file() or find_annotations(root):
        return "coco"
    if find_xml(root):
        return "voc"
    return "yolo" if is_yolo(root) else "folder"
