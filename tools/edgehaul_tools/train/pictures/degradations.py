"""What lenses, sensors and encoders do to a picture: blur, noise, compression, little light."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.train.pictures.photometric import look_up

Image = NDArray[np.uint8]

_DEFOCUS_PX = (0.6, 1.8)
"""Standard deviation of the blur of a lens out of focus."""
_MOTION_PX = (3, 9)
"""Way of an object while the picture is exposed."""
_READ_NOISE = (1.0, 6.0)
"""Standard deviation of the noise that is the same everywhere, in byte values."""
_SHOT_NOISE = (0.2, 0.9)
"""Standard deviation of the light's own noise at a value of 1; it grows as the root."""
_JPEG_QUALITY = (12, 50)
_DUSK = (0.2, 0.55)
"""Share of the light that is left at dusk."""
_NOISE_VALUES = 1 << 20


def random_blur(image: Image, random: np.random.Generator) -> Image:
    """Return a picture (h, w, 3) out of focus, or moved while it was exposed."""
    if random.random() < 0.5:  # noqa: PLR2004 - as often the one as the other
        sigma = random.uniform(*_DEFOCUS_PX)
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
    length = int(random.integers(_MOTION_PX[0], _MOTION_PX[1] + 1))
    kernel = line_kernel(length, random.uniform(0, math.pi))
    return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)


def line_kernel(length: int, angle_rad: float) -> NDArray[np.float32]:
    """Return a blurring kernel along a line of ``length`` pixels; it sums to 1."""
    side = length | 1
    half = (length - 1) / 2
    step = np.array([math.cos(angle_rad), math.sin(angle_rad)]) * half
    middle = side // 2
    kernel = np.zeros((side, side), dtype=np.uint8)
    start, end = np.rint(middle - step).astype(int), np.rint(middle + step).astype(int)
    cv2.line(kernel, start.tolist(), end.tolist(), 255, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def random_noise(image: Image, random: np.random.Generator, strength: float = 1.0) -> Image:
    """Return a picture (h, w, 3) with a sensor's noise.

    The variance is that of the light itself, which grows with it, and of the electronics
    (Foi et al. 2008, "Practical Poissonian-Gaussian Noise Modeling").

    Args:
        image: The picture.
        random: Where the chance comes from.
        strength: Factor of the standard deviation.
    """
    read, shot = random.uniform(*_READ_NOISE), random.uniform(*_SHOT_NOISE)
    levels = np.arange(256, dtype=np.float32)
    deviation = (strength * np.sqrt(read**2 + shot**2 * levels)).astype(np.float32)
    spread = cv2.LUT(image, deviation)
    grain = _grain(image.size, int(random.integers(_NOISE_VALUES))).reshape(image.shape)
    noisy = cv2.add(image, cv2.multiply(spread, grain, dtype=cv2.CV_32F), dtype=cv2.CV_8U)
    return np.asarray(noisy, np.uint8)


def random_jpeg(image: Image, random: np.random.Generator) -> Image:
    """Return a picture (h, w, 3) after a hard compression."""
    quality = int(random.integers(_JPEG_QUALITY[0], _JPEG_QUALITY[1] + 1))
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def random_low_light(image: Image, random: np.random.Generator) -> Image:
    """Return a picture (h, w, 3) taken at dusk: darker, and noisy as the gain is turned up."""
    light = random.uniform(*_DUSK)
    table = (np.arange(256, dtype=np.float64) * light)[:, None]
    return random_noise(look_up(image, table), random, strength=1.0 / math.sqrt(light))


@functools.cache
def _bell() -> NDArray[np.float32]:
    """Return many normal values, made once: to draw them anew for each picture takes ms."""
    return np.random.default_rng(0).standard_normal(_NOISE_VALUES, dtype=np.float32)


def _grain(count: int, first: int) -> NDArray[np.float32]:
    """Return ``count`` normal values, from the place ``first`` of a long ring of them."""
    values = _bell()
    if first + count <= len(values):
        return values[first : first + count]
    return np.resize(np.roll(values, -first), count)
