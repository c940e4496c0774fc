"""Brightness, contrast and colour, by one table of 256 values for each channel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import AugmentSection

_MIDDLE_GREY = 127.5


def random_light(
    image: NDArray[np.uint8], section: AugmentSection, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a picture (h, w, c) in another light: contrast about middle grey, then brightness.

    Args:
        image: The picture.
        section: Its ``brightness``, ``contrast`` and ``color`` say how much.
        random: Where the chance comes from.
    """
    if not (section.brightness or section.contrast or section.color):
        return image
    channels = image.shape[2]
    contrast = 1 + random.uniform(-section.contrast, section.contrast)
    gains = contrast * (1 + random.uniform(-section.color, section.color, channels))
    brightness = random.uniform(-section.brightness, section.brightness) * _MIDDLE_GREY
    values = np.arange(256, dtype=np.float64)[:, None] - _MIDDLE_GREY
    table = np.rint(values * gains + _MIDDLE_GREY + brightness)
    return look_up(image, table)


def look_up(image: NDArray[np.uint8], table: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return a picture (h, w, c) with each value replaced.

    Args:
        image: The picture.
        table: (256, c) or (256, 1) the values that replace 0..255; cut off to bytes.
    """
    channels = image.shape[2]
    bytes_ = np.clip(table, 0, 255).astype(np.uint8)
    full = np.ascontiguousarray(np.broadcast_to(bytes_, (256, channels)))
    result = cv2.LUT(image, full.reshape(1, 256, channels))
    return np.asarray(result, np.uint8).reshape(image.shape)
