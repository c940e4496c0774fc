"""Light, seeded variation of training pictures: mirror, scale, shift, light and colour."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.architectures.detector import BYTE_SCALE
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet

_LEAST_VISIBLE = 0.7
"""An object of which a smaller share is left on the canvas is no longer asked for."""


@dataclass(frozen=True)
class Batch:
    """Pictures and their objects, ready for the network.

    Attributes:
        images: (B, 3, H, W) float32 in 0..1, channels last in memory.
        boxes: (B, M, 4) x1, y1, x2, y2 in canvas pixels, padded with zeros.
        classes: (B, M) int64; -1 marks the padding, ``IGNORED`` what may be found or not.
    """

    images: Tensor
    boxes: Tensor
    classes: Tensor


class Augmenter:
    """Makes batches out of canvases.

    Args:
        section: How much is varied; ``None`` varies nothing.
        random: Where the chance comes from.
    """

    def __init__(self, section: AugmentSection | None, random: np.random.Generator) -> None:
        self._section = section
        self._random = random

    def batch(self, canvases: CanvasSet, chosen: NDArray[np.int64]) -> Batch:
        """Return the canvases with the numbers ``chosen`` as a batch."""
        images, boxes, classes = [], [], []
        for number in chosen:
            image, its_boxes = canvases.images[number], canvases.boxes[number]
            its_classes = canvases.classes[number]
            if self._section is not None:
                image, its_boxes, visible = self._moved(image, its_boxes, canvases.pad_value)
                its_classes = np.where(visible, its_classes, IGNORED)
            images.append(torch.from_numpy(image))
            boxes.append(its_boxes)
            classes.append(its_classes)
        pixels = torch.stack(images).permute(0, 3, 1, 2).float().mul_(BYTE_SCALE)
        if self._section is not None:
            pixels = self._lit(pixels, self._section)
        padded_boxes, padded_classes = _padded(boxes, classes)
        return Batch(pixels, padded_boxes, padded_classes)

    def _moved(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32], pad_value: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.bool_]]:
        """Mirror, scale and shift one picture; also say which of its boxes are still whole."""
        section = self._section
        assert section is not None  # noqa: S101 - batch() calls it only then
        height, width = image.shape[:2]
        zoom = 1 + self._random.uniform(-section.scale, section.scale)
        shift_x, shift_y = self._random.uniform(-section.shift, section.shift, 2)
        sign = -1.0 if self._random.random() < section.flip else 1.0
        x = np.array([sign * zoom, width / 2 * (1 - sign * zoom) + shift_x * width])
        y_sign = -1.0 if self._random.random() < section.flip_vertical else 1.0
        y = np.array([y_sign * zoom, height / 2 * (1 - y_sign * zoom) + shift_y * height])
        # warpAffine counts from the middle of the first pixel, boxes from its edge.
        x_pixel, y_pixel = x[1] + (x[0] - 1) / 2, y[1] + (y[0] - 1) / 2
        matrix = np.array([[x[0], 0, x_pixel], [0, y[0], y_pixel]], dtype=np.float64)
        border = (pad_value, pad_value, pad_value)
        moved = cv2.warpAffine(image, matrix, (width, height), borderValue=border)
        columns = np.sort(boxes[:, [0, 2]] * x[0] + x[1], axis=1)
        rows = np.sort(boxes[:, [1, 3]] * y[0] + y[1], axis=1)
        before = (columns[:, 1] - columns[:, 0]) * (rows[:, 1] - rows[:, 0])
        columns, rows = np.clip(columns, 0, width), np.clip(rows, 0, height)
        after = (columns[:, 1] - columns[:, 0]) * (rows[:, 1] - rows[:, 0])
        visible = after >= _LEAST_VISIBLE * before
        result = np.stack((columns[:, 0], rows[:, 0], columns[:, 1], rows[:, 1]), axis=1)
        return np.asarray(moved, np.uint8), result.astype(np.float32), visible

    def _lit(self, pixels: Tensor, section: AugmentSection) -> Tensor:
        """Vary brightness, contrast and colour of each picture (B, 3, H, W)."""
        count = len(pixels)
        gain = 1 + self._random.uniform(-section.contrast, section.contrast, (count, 1))
        gain = gain * (1 + self._random.uniform(-section.color, section.color, (count, 3)))
        bias = self._random.uniform(-section.brightness, section.brightness, (count, 1)) / 2
        bias = bias + (1 - gain) / 2
        gains, biases = (
            torch.from_numpy(v.astype(np.float32))[:, :, None, None] for v in (gain, bias)
        )
        return pixels.mul_(gains).add_(biases).clamp_(0, 1)


def _padded(
    boxes: list[NDArray[np.float32]], classes: list[NDArray[np.int64]]
) -> tuple[Tensor, Tensor]:
    """Return boxes (B, M, 4) and classes (B, M), M the largest count, -1 marking the padding."""
    most = max(len(v) for v in classes)
    padded_boxes = torch.zeros(len(boxes), most, 4)
    padded_classes = torch.full((len(boxes), most), -1, dtype=torch.int64)
    for row, (its_boxes, its_classes) in enumerate(zip(boxes, classes, strict=True)):
        padded_boxes[row, : len(its_boxes)] = torch.from_numpy(its_boxes)
        padded_classes[row, : len(its_classes)] = torch.from_numpy(its_classes)
    return padded_boxes, padded_classes
