"""Fog, rain and glare, as a camera outdoors sees them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.train.pictures.degradations import Image, line_kernel

_FOG = (0.25, 0.6)
"""Share of the fog's own light at the far end, which is the top of the picture."""
_FOG_NEAR = 0.4
"""Share at the near end, as a part of that at the far end."""
_FOG_GREY = (170, 230)
_DROPS = (0.0008, 0.003)
"""Rain drops per pixel."""
_STREAK_PX = (9, 21)
_RAIN_TURN_RAD = 0.35
_RAIN_LIGHT = (60, 140)
_RAIN_DIM = 0.85
"""Share of the light that is left under rain clouds."""
_WHITE = 255.0
_GLARE = (0.35, 0.8)
"""Share of white in the middle of the glare."""
_GLARE_SIZE = (0.15, 0.45)
"""Standard deviation of the glare, as a share of the longer side."""


def random_weather(image: Image, random: np.random.Generator) -> Image:
    """Return a picture (h, w, 3) in fog, in rain or against the sun, each as often."""
    kinds = (_fog, _rain, _glare)
    return kinds[int(random.integers(len(kinds)))](image, random)


def _fog(image: Image, random: np.random.Generator) -> Image:
    """Mix with grey, more at the top: there it is farther (Koschmieder's law, coarsely)."""
    height, width = image.shape[:2]
    far = random.uniform(*_FOG)
    grey = random.uniform(*_FOG_GREY)
    share = np.linspace(far, far * _FOG_NEAR, height, dtype=np.float32)
    return _mixed(image, np.repeat(share[:, None], width, axis=1), grey)


def _rain(image: Image, random: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    count = max(1, round(random.uniform(*_DROPS) * height * width))
    drops = np.zeros((height, width), dtype=np.float32)
    drops[random.integers(0, height, count), random.integers(0, width, count)] = 1.0
    length = int(random.integers(_STREAK_PX[0], _STREAK_PX[1] + 1))
    angle = math.pi / 2 + random.uniform(-_RAIN_TURN_RAD, _RAIN_TURN_RAD)
    # One drop lights every pixel of its streak alike.
    kernel = (line_kernel(length, angle) > 0).astype(np.float32)
    light = np.float32(random.uniform(*_RAIN_LIGHT))
    streaks = cv2.GaussianBlur(cv2.filter2D(drops, -1, kernel), (3, 3), 0)
    added = cv2.merge([np.minimum(streaks, 1.0) * light] * 3)
    wet = cv2.addWeighted(image, _RAIN_DIM, added, 1.0, 0.0, dtype=cv2.CV_8U)
    return np.asarray(wet, np.uint8)


def _glare(image: Image, random: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    middle_x, middle_y = random.uniform(0, width), random.uniform(0, height / 2)
    size = random.uniform(*_GLARE_SIZE) * max(width, height)
    across = np.exp(-0.5 * ((np.arange(width) - middle_x) / size) ** 2)
    down = np.exp(-0.5 * ((np.arange(height) - middle_y) / size) ** 2)
    light = random.uniform(*_GLARE)
    return _mixed(image, np.asarray(np.outer(down, across) * light, np.float32), _WHITE)


def _mixed(image: Image, share: NDArray[np.float32], grey: float) -> Image:
    """Return the picture with a ``share`` (h, w) of grey mixed in."""
    kept = cv2.merge([1 - share] * 3)
    added = cv2.merge([share * np.float32(grey)] * 3)
    return np.asarray(cv2.add(cv2.multiply(image, kept, dtype=cv2.CV_32F), added, dtype=cv2.CV_8U))
