"""What an object looks like, in a few hundred numbers: outlines, colours, and its size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import Box

_SIDE_PX = 32
_CELL_PX = 8
_CELLS = _SIDE_PX // _CELL_PX
_DIRECTIONS = 9
_LEVELS = 16
_CLIPPED = 0.2
"""Largest value of a block (Dalal and Triggs 2005): one strong edge is not all there is."""

_LENGTH = 422
"""Number of the features of one object."""

Crop = NDArray[np.uint8]
Features = NDArray[np.float32]


def crop_of(image: NDArray[np.uint8], box: Box) -> Crop:
    """Return an object as (32, 32, 3) BGR.

    Args:
        image: (H, W, 3) BGR.
        box: Where, within the picture; thinner than a pixel is taken as one pixel.
    """
    height, width = image.shape[:2]
    x1, y1 = min(int(box.x1), width - 1), min(int(box.y1), height - 1)
    x2, y2 = max(x1 + 1, math.ceil(box.x2)), max(y1 + 1, math.ceil(box.y2))
    small = cv2.resize(image[y1:y2, x1:x2], (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def crop_features(crops: Sequence[Crop], sizes: NDArray[np.float32]) -> Features:
    """Return the features of objects.

    Args:
        crops: N objects of (32, 32, 3) BGR.
        sizes: (N, 2) width and height as shares of their picture.

    Returns:
        (N, 422) float32: oriented gradients, size and shape, colours.
    """
    images = np.stack(crops)
    lab = np.stack([cv2.cvtColor(image, cv2.COLOR_BGR2LAB) for image in images])
    values: NDArray[np.float32] = lab.astype(np.float32) / np.float32(255)
    shape = np.log(np.maximum(sizes, 1e-4))
    shape = np.stack([shape.sum(axis=1), shape[:, 0] - shape[:, 1]], axis=1)
    parts = [oriented_gradients(values[..., 0]), shape, _colours(values)]
    return np.concatenate(parts, axis=1).astype(np.float32)


def oriented_gradients(grey: NDArray[np.float32]) -> Features:
    """Return histograms of oriented gradients, (N, 324), of pictures (N, 32, 32).

    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection" (2005):
    nine directions, cells of 8 px, blocks of 2 x 2 cells, L2 norm, clipped, and again.
    """
    count = len(grey)
    dx, dy = np.zeros_like(grey), np.zeros_like(grey)
    dx[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    dy[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    strength, angle = cv2.cartToPolar(dx.reshape(-1, _SIDE_PX), dy.reshape(-1, _SIDE_PX))
    turn = angle.reshape(-1) * (_DIRECTIONS / np.pi)
    lower = turn.astype(np.int64)
    upper_share = turn - lower
    # Each gradient counts for the two directions that it lies between.
    weight = strength.reshape(-1)
    first = (_cell_numbers(count) * _DIRECTIONS).reshape(-1)
    bins = count * _CELLS * _CELLS * _DIRECTIONS
    low, high = first + lower % _DIRECTIONS, first + (lower + 1) % _DIRECTIONS
    votes = np.bincount(low, weight * (1 - upper_share), bins)
    votes += np.bincount(high, weight * upper_share, bins)
    cells = votes.reshape(count, _CELLS, _CELLS, _DIRECTIONS).astype(np.float32)
    blocks = [
        cells[:, y : y + 2, x : x + 2].reshape(count, -1)
        for y in range(_CELLS - 1)
        for x in range(_CELLS - 1)
    ]
    return np.concatenate([_normalised(block) for block in blocks], axis=1)


def _cell_numbers(count: int) -> NDArray[np.int64]:
    """Return the number of the cell of each pixel of ``count`` pictures."""
    along = np.arange(_SIDE_PX) // _CELL_PX
    own = along[:, None] * _CELLS + along[None, :]
    return np.asarray(np.arange(count)[:, None, None] * _CELLS**2 + own)


def _normalised(block: Features) -> Features:
    for _ in range(2):
        norm = np.linalg.norm(block, axis=1, keepdims=True) + 1e-2
        block = np.minimum(block / norm, _CLIPPED)
    return block


def _colours(values: NDArray[np.float32]) -> Features:
    """Return the mean colour of each cell, and which colours there are anywhere, (N, 96)."""
    count = len(values)
    cells = values.reshape(count, _CELLS, _CELL_PX, _CELLS, _CELL_PX, 3).mean(axis=(2, 4))
    level = np.minimum((values * _LEVELS).astype(np.int64), _LEVELS - 1)
    own = (np.arange(count)[:, None, None, None] * 3 + np.arange(3)) * _LEVELS + level
    counts = np.bincount(own.reshape(-1), minlength=count * 3 * _LEVELS)
    shares = np.sqrt(counts.reshape(count, -1) / _SIDE_PX**2)
    return np.concatenate([cells.reshape(count, -1), shares], axis=1)


def no_features() -> Features:
    """Return the features of no objects."""
    return np.zeros((0, _LENGTH), dtype=np.float32)
