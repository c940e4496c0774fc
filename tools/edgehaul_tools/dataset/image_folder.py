"""Folders of pictures: one folder for each class, or one folder without any marks."""

from __future__ import annotations

from pathlib import Path

from edgehaul.geometry import Box
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.groups import guess_groups
from edgehaul_tools.dataset.pictures import find_pictures, picture_size
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox


def read_image_folder(root: Path) -> DetectionDataset:
    """Read a folder of pictures.

    Where every picture lies in a sub-folder, the names of these are the labels and each
    picture has one box as large as itself. Otherwise there are no labels and no boxes, which
    serves calibration.

    Raises:
        DatasetError: It has fatal faults.
    """
    faults = FaultBook()
    paths = find_pictures(root)
    tops = [path.relative_to(root).parts[0] for path in paths if path.parent != root]
    labels = tuple(sorted(set(tops))) if len(tops) == len(paths) else ()
    # The folders are the classes here; they say nothing of who took the pictures.
    names = [Path(path.name) for path in paths]
    samples = []
    for path, group in zip(paths, guess_groups(names), strict=True):
        size = picture_size(path, faults)
        if size is None:
            continue
        whole = Box(0.0, 0.0, float(size[0]), float(size[1]))
        boxes = (TrueBox(whole, labels.index(path.relative_to(root).parts[0])),) if labels else ()
        samples.append(Sample(path, group, *size, boxes))
    faults.raise_fatal(root)
    return DetectionDataset(root, labels, tuple(samples), tuple(faults.mended))
