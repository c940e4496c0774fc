"""The objects of a dataset, each cut out as one small picture of its class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

LEAST_SIDE_PX = 8.0
"""Smaller objects show nothing that is worth drawing."""
_MARGIN = 0.08
"""What is seen around an object, as a share of its sides: its edge belongs to its look."""


@dataclass(frozen=True)
class Crops:
    """Small pictures and their classes.

    Attributes:
        images: (n, height, width, 3) uint8 in the model's colour order.
        classes: (n,) int64.
        too_small: Number of objects left out, as they are smaller than 8 pixels.
    """

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]
    too_small: int = 0

    def __len__(self) -> int:
        return len(self.classes)


def cut_crops(dataset: DetectionDataset, spec: ImageInput) -> Crops:
    """Cut out every object; a picture that is of one class as a whole is taken as it is.

    Args:
        dataset: Pictures and their marks; crowds and cut-off objects are passed over.
        spec: The canvas that each crop is brought onto.

    Raises:
        DatasetError: A picture cannot be read.
    """
    prepare = Preprocessor(spec)
    images: list[NDArray[np.uint8]] = []
    classes: list[int] = []
    too_small = 0
    for sample in dataset.samples:
        if not sample.boxes:
            continue
        picture = _read(sample)
        for mark in sample.boxes:
            if min(mark.box.width, mark.box.height) < LEAST_SIDE_PX:
                too_small += 1
                continue
            crop = picture if sample.class_id is not None else _cut(picture, mark.box)
            images.append(prepare(crop)[0][0].copy())
            classes.append(mark.class_id)
    shape = (0, spec.height, spec.width, spec.channels)
    stacked = np.stack(images) if images else np.empty(shape, np.uint8)
    return Crops(stacked, np.array(classes, np.int64), too_small)


def _cut(picture: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    across, along = _MARGIN * box.width, _MARGIN * box.height
    left, top = max(0, math.floor(box.x1 - across)), max(0, math.floor(box.y1 - along))
    right, bottom = math.ceil(box.x2 + across), math.ceil(box.y2 + along)
    return np.ascontiguousarray(picture[top : min(bottom, height), left : min(right, width)])


def _read(sample: Sample) -> NDArray[np.uint8]:
    try:
        picture = cv2.imread(str(sample.path), cv2.IMREAD_COLOR)
    except cv2.error:  # its header declares more than OpenCV would hold
        picture = None
    if picture is None:
        raise DatasetError(
            "this picture cannot be read",
            where=sample.path,
            remedy="run 'edgehaul data check' to find all that are damaged",
        )
    return np.asarray(picture, np.uint8)
