"""A dataset brought onto the model's canvas once, and kept in memory as bytes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

IGNORED = -2
"""Class of objects that a detector may find or not: cut off, or marked so in the dataset."""
_LEAST_SIDE_PX = 1.0
"""Boxes smaller than this on the canvas cannot be learnt."""


@dataclass(frozen=True)
class CanvasSet:
    """Pictures as the model sees them, and their objects.

    Attributes:
        images: (n, height, width, channels) uint8 in the model's colour order.
        boxes: For each picture (k, 4) float32 x1, y1, x2, y2 in canvas pixels.
        classes: For each picture (k,) int64, ``IGNORED`` among them.
        pad_value: Grey value outside the picture.
    """

    images: NDArray[np.uint8]
    boxes: tuple[NDArray[np.float32], ...]
    classes: tuple[NDArray[np.int64], ...]
    pad_value: int = 114

    def __len__(self) -> int:
        return len(self.boxes)


def load_canvases(dataset: DetectionDataset, spec: ImageInput) -> CanvasSet:
    """Read and preprocess all pictures of a dataset, exactly as the box will.

    Raises:
        DatasetError: A picture cannot be read.
    """
    preprocessor = Preprocessor(spec)
    count = len(dataset.samples)
    images = np.empty((count, spec.height, spec.width, spec.channels), dtype=np.uint8)
    boxes, classes = [], []
    for number, sample in enumerate(dataset.samples):
        tensor, placement = preprocessor(_read(sample))
        images[number] = tensor[0]
        marks = [(mark.box, mark.class_id) for mark in sample.boxes]
        marks += [(box, IGNORED) for box in sample.ignored]
        original = np.array([msgspec.structs.astuple(box) for box, _ in marks], dtype=np.float64)
        placed = placement.boxes_to_canvas(original.reshape(-1, 4))
        limit = np.array([spec.width, spec.height] * 2, dtype=np.float32)
        placed = np.clip(placed, 0, limit)
        kept = (placed[:, 2:] - placed[:, :2]).min(axis=1, initial=np.inf) >= _LEAST_SIDE_PX
        boxes.append(placed[kept])
        classes.append(np.array([class_id for _, class_id in marks], dtype=np.int64)[kept])
    return CanvasSet(images, tuple(boxes), tuple(classes), spec.pad_value)


def _read(sample: Sample) -> NDArray[np.uint8]:
    image = cv2.imread(str(sample.path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(
            "this picture cannot be read",
            where=sample.path,
            remedy="run 'edgehaul data stats' to list all that are missing or damaged",
        )
    return np.asarray(image, dtype=np.uint8)
