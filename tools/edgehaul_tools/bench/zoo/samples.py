"""The data of the comparison, made here: mosaics and scenes of handwritten digits, and waves.

Nothing is fetched. The digits are those of scikit-learn (Alpaydin and Kaynak 1998, 8x8 pixels);
one part of them is learnt from, the other one calibrates and judges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # no stubs

from edgehaul.vision.decode import Detections

Array = NDArray[np.float32]
Part = Literal["learn", "judge"]
CELL_PX = 32
DIGITS = 10
_LEARNT = 1200
"""So many of the 1,797 digits are learnt from."""
_SIZES_PX = (20, 88)
_FREE = 1.0
"""Standard deviation of what is shown, about: pictures are given centred."""
_CYCLES = (2.0, 4.0, 7.0, 11.0, 17.0)
"""Waves in a window, of each class."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs and what is true of them.

    Attributes:
        tensors: The inputs (N, ...), float32.
        classes: Class of each (N,); empty for scenes.
        objects: What is in each scene; empty for others.
    """

    tensors: Array
    classes: NDArray[np.int64]
    objects: tuple[Detections, ...] = ()


def mosaics(
    count: int, side_px: int, purity: float, part: Part, rng: np.random.Generator
) -> Samples:
    """Return pictures (N, 3, side, side) tiled with digits, of which one is more frequent.

    A network that sums over all places may learn on small mosaics and judge large ones.

    Args:
        count: Number of pictures.
        side_px: A multiple of 32.
        purity: Share of the tiles that show the picture's class; the others show any digit.
        part: Which digits.
        rng: Randomness.
    """
    tiles = side_px // CELL_PX
    classes = rng.integers(0, DIGITS, count)
    pictures = np.empty((count, 3, side_px, side_px), np.float32)
    for picture, label in zip(pictures, classes, strict=True):
        shown = rng.integers(0, DIGITS, (tiles, tiles))
        shown[rng.random(shown.shape) < purity] = label
        for row, column in np.ndindex(tiles, tiles):
            place = np.s_[:, row * CELL_PX :, column * CELL_PX :]
            tile = _tinted(_digit(int(shown[row, column]), part, rng), rng)
            picture[place][:, :CELL_PX, :CELL_PX] = tile
    pictures += rng.normal(0, 0.2, pictures.shape).astype(np.float32)
    return Samples(pictures, classes)


def scenes(count: int, side_px: int, part: Part, rng: np.random.Generator) -> Samples:
    """Return pictures (N, 3, side, side) with digits of several sizes on mottled grey.

    Args:
        count: Number of pictures.
        side_px: Side of a picture.
        part: Which digits.
        rng: Randomness.
    """
    pictures = np.empty((count, 3, side_px, side_px), np.float32)
    objects = []
    for picture in pictures:
        picture[:] = cv2.resize(rng.normal(0, 0.4, (9, 9)).astype(np.float32), (side_px, side_px))
        objects.append(_put_digits(picture, part, rng))
    pictures += rng.normal(0, 0.15, pictures.shape).astype(np.float32)
    return Samples(pictures, np.zeros(0, np.int64), tuple(objects))


def waves(count: int, steps: int, features: int, rng: np.random.Generator) -> Samples:
    """Return windows (N, steps, features) of noisy waves whose frequency is the class.

    Args:
        count: Number of windows.
        steps: Length of each.
        features: Channels, each with a phase of its own.
        rng: Randomness.
    """
    classes = rng.integers(0, len(_CYCLES), count)
    cycles = np.array(_CYCLES)[classes] * rng.uniform(0.8, 1.2, count)
    phases = rng.uniform(0, 2 * np.pi, (count, 1, features))
    angle = 2 * np.pi * cycles[:, None, None] * np.arange(steps)[None, :, None] / steps
    strength = rng.uniform(0.5, 1.5, (count, 1, features))
    clean = strength * np.sin(angle + phases)
    return Samples((clean + rng.normal(0, 0.5, clean.shape)).astype(np.float32), classes)


@cache
def _digits(part: Part) -> tuple[Array, NDArray[np.int64]]:
    found = load_digits()
    chosen = slice(0, _LEARNT) if part == "learn" else slice(_LEARNT, None)
    return (found.images[chosen] / 16).astype(np.float32), found.target[chosen]


def _digit(label: int, part: Part, rng: np.random.Generator) -> Array:
    images, labels = _digits(part)
    digit: Array = images[rng.choice(np.flatnonzero(labels == label))]
    return digit


def _tinted(digit: Array, rng: np.random.Generator) -> Array:
    """Return a tile (3, 32, 32) in two random colours that differ enough to be seen."""
    ground, ink = rng.uniform(-_FREE, _FREE, (2, 3, 1, 1)).astype(np.float32)
    ink += np.float32(1.5) * np.sign(ink.mean() - ground.mean())
    return _drawn(digit, CELL_PX, ground, ink)


def _inked(digit: Array, label: int, rng: np.random.Generator, side_px: int) -> Array:
    """Return a digit (3, side, side) in the ink of its class on grey.

    In random colours a detector finds where digits are long before it learns which.
    """
    hue = 2 * np.pi * (label / DIGITS + np.arange(3) / 3)
    ink = (1.5 * np.cos(hue)).astype(np.float32)[:, None, None]
    return _drawn(digit, side_px, np.float32(rng.uniform(-_FREE, 0)), ink)


def _drawn(digit: Array, side_px: int, ground: Array | np.float32, ink: Array) -> Array:
    """Return a digit (3, side, side), of the ink where it is drawn and of the ground elsewhere."""
    strokes = cv2.resize(digit, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    drawn: Array = (ground + (ink - ground) * strokes).astype(np.float32)
    return drawn


def _put_digits(picture: Array, part: Part, rng: np.random.Generator) -> Detections:
    """Draw digits that do not overlap into a picture and return what and where they are."""
    side = picture.shape[1]
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(rng.integers(1, max(2, side // 20))):
        size = int(np.exp(rng.uniform(*np.log(_SIZES_PX))))
        x, y = (int(v) for v in rng.integers(0, side - size, 2))
        box = (x, y, x + size, y + size)
        if any(_overlap(box, other) for other in boxes):
            continue
        label = int(rng.integers(0, DIGITS))
        tile = _inked(_digit(label, part, rng), label, rng, size)
        picture[:, y : y + size, x : x + size] = tile
        boxes.append(box)
        labels.append(label)
    shown = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(shown, np.ones(len(boxes), np.float32), np.array(labels, np.int64))


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
