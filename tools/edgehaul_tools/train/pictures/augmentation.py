"""Seeded variation of training pictures, and batches of them.

In the order in which light meets them: the scene moves, things get in the way, the weather
lies between, the lens blurs, the light is set, the sensor adds its noise, the encoder its blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.architectures.detector import BYTE_SCALE
from edgehaul_tools.train.pictures.canvases import CanvasSet
from edgehaul_tools.train.pictures.cut_out import random_cut_out
from edgehaul_tools.train.pictures.degradations import (
    Image,
    random_blur,
    random_jpeg,
    random_low_light,
    random_noise,
)
from edgehaul_tools.train.pictures.geometry import (
    Picture,
    random_warp,
    warp_image,
    warp_objects,
)
from edgehaul_tools.train.pictures.mosaic import random_mosaic
from edgehaul_tools.train.pictures.photometric import random_light
from edgehaul_tools.train.pictures.weather import random_weather


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
    """Makes batches out of canvases; loader threads may share it.

    How a picture is varied depends on the seed, the epoch and its number alone. So a batch
    is the same in whatever thread or process it is made, and after a training went on.

    Args:
        section: How much is varied; ``None`` varies nothing.
        seed: The same seed gives the same pictures.
        mosaic: Whether pictures may be put together of four, which leaves no picture of one
            class: for detectors.
    """

    def __init__(
        self, section: AugmentSection | None, seed: int = 0, *, mosaic: bool = True
    ) -> None:
        self._section = section
        self._seed = seed
        self._mosaic = mosaic

    def batch(self, canvases: CanvasSet, numbers: NDArray[np.int64], epoch: int) -> Batch:
        """Return the canvases with these numbers as a batch, varied as in this epoch."""
        return batch_of([self.picture(canvases, int(number), epoch) for number in numbers])

    def picture(self, canvases: CanvasSet, number: int, epoch: int) -> Picture:
        """Return the canvas with this number and its objects, varied as in this epoch."""
        section = self._section
        if section is None:
            return Picture(
                canvases.images[number], canvases.boxes[number], canvases.classes[number]
            )
        random = np.random.default_rng((self._seed, epoch, number))
        if self._mosaic and random.random() < section.mosaic:
            picture = random_mosaic(canvases, number, section, random)
        else:
            picture = _moved(canvases, number, section, random)
        if random.random() < section.cut_out:
            picture = random_cut_out(picture, random)
        image = degraded(picture.image, section, random)
        return Picture(image, picture.boxes, picture.classes)


def _moved(
    canvases: CanvasSet, number: int, section: AugmentSection, random: np.random.Generator
) -> Picture:
    image = canvases.images[number]
    height, width = image.shape[:2]
    matrix = random_warp(section, width, height, random)
    boxes, classes = warp_objects(
        canvases.boxes[number], canvases.classes[number], matrix, (0.0, 0.0, width, height)
    )
    return Picture(warp_image(image, matrix, width, height, canvases.pad_value), boxes, classes)


def degraded(image: Image, section: AugmentSection, random: np.random.Generator) -> Image:
    """Return a picture (h, w, 3) in other weather and light, seen by a worse camera.

    Args:
        image: The picture.
        section: How often, and how much.
        random: Where the chance comes from.
    """
    if random.random() < section.weather:
        image = random_weather(image, random)
    if random.random() < section.blur:
        image = random_blur(image, random)
    image = random_light(image, section, random)
    if random.random() < section.low_light:
        image = random_low_light(image, random)
    if random.random() < section.noise:
        image = random_noise(image, random)
    if random.random() < section.jpeg:
        image = random_jpeg(image, random)
    return image


def batch_of(pictures: list[Picture]) -> Batch:
    """Return pictures of one size as a batch, the objects padded to the largest count."""
    pixels = torch.from_numpy(np.stack([picture.image for picture in pictures]))
    images = pixels.permute(0, 3, 1, 2).float().mul_(BYTE_SCALE)
    most = max(len(picture.classes) for picture in pictures)
    boxes = torch.zeros(len(pictures), most, 4)
    classes = torch.full((len(pictures), most), -1, dtype=torch.int64)
    for row, picture in enumerate(pictures):
        count = len(picture.classes)
        boxes[row, :count] = torch.from_numpy(picture.boxes)
        classes[row, :count] = torch.from_numpy(picture.classes)
    return Batch(images, boxes, classes)
