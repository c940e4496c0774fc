"""Which pictures look the same: difference hashes, confirmed on coarse pictures."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError
from edgehaul.vision.reading import read_picture
from edgehaul_tools.dataset.hamming import pairs_within, sorted_pairs
from edgehaul_tools.dataset.samples import Sample

NEAR_BITS = 12
"""Pictures whose hashes differ in no more bits (of 256) may be the same scene."""
_SIDE = 16
_CLEARLY_DARKER = 0.2
"""By how much, as a share of the contrast, so that noise in flat parts flips no bits: of copies
that were brightened and encoded again 99.5 to 100 % keep their hash, and 81 to 99 % without it."""
_REDUCE_FROM_PX = 128
"""Pictures at least so large are decoded at a quarter of their size, which is much faster."""
_FLAT_GREY_LEVELS = 3.0
"""What the coarse pictures of one scene may differ by where there is hardly any contrast."""
_UNEXPLAINED = 0.2
"""The same as a share of the contrast (standard deviation)."""
_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True, eq=False)
class Looks:
    """What some pictures look like, in little memory.

    Attributes:
        hashes: (N, 4) uint64: whether each of 16 x 16 cells is clearly darker than the one to
            its right.
        coarse: (N, 272) uint8: the grey values of 16 rows of 17 cells.
    """

    hashes: NDArray[np.uint64]
    coarse: NDArray[np.uint8]


def coarse_picture(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a grey picture (H, W) as 16 rows of 17 cells."""
    small = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8).reshape(-1)


def looks_of(coarse: Sequence[NDArray[np.uint8]]) -> Looks:
    """Return the hashes of coarse pictures.

    Source: N. Krawetz, "Kind of Like That" (2013), with 16 x 16 bits and a margin.
    """
    flat = np.stack(coarse) if coarse else np.zeros((0, _SIDE * (_SIDE + 1)), dtype=np.uint8)
    cells = flat.reshape(-1, _SIDE, _SIDE + 1).astype(np.float32)
    margin = _CLEARLY_DARKER * cells.std(axis=(1, 2), keepdims=True)
    darker = (cells[:, :, 1:] > cells[:, :, :-1] + margin).reshape(len(cells), -1)
    return Looks(np.packbits(darker, axis=1).view(np.uint64), flat)


def read_looks(samples: Sequence[Sample]) -> Looks:
    """Read pictures and return what they look like.

    Raises:
        DatasetError: A picture cannot be decoded.
    """
    # OpenCV lets other threads run while it decodes.
    with ThreadPoolExecutor() as pool:
        return looks_of(list(pool.map(_read_coarse, samples)))


def _read_coarse(sample: Sample) -> NDArray[np.uint8]:
    small = min(sample.width, sample.height) < _REDUCE_FROM_PX
    flag = cv2.IMREAD_GRAYSCALE if small else cv2.IMREAD_REDUCED_GRAYSCALE_4
    image = read_picture(sample.path, flag)
    if image is None:
        raise DatasetError("the picture cannot be decoded", where=sample.path, remedy="replace it")
    return coarse_picture(image)


def similar_pairs(looks: Looks) -> NDArray[np.int64]:
    """Return pairs of pictures that show the same scene, (P, 2), the smaller index first.

    Of many pictures with one hash each is paired with one of them only, so that the number of
    pairs stays bounded; clusters of the pairs are what matters.
    """
    unique, first, member_of = np.unique(
        looks.hashes, axis=0, return_index=True, return_inverse=True
    )
    near = _confirmed(looks, first[pairs_within(unique, NEAR_BITS)])
    same = _pairs_of_one_hash(looks, np.asarray(member_of).ravel())
    return sorted_pairs(np.concatenate([near, same]), len(looks.hashes))


def _pairs_of_one_hash(looks: Looks, member_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pair each picture with the first of its hash, and those that differ among themselves."""
    order = np.argsort(member_of, kind="stable")
    found = [np.zeros((0, 2), dtype=np.int64)]
    left = order
    while len(left) > 1:
        starts = np.flatnonzero(np.diff(member_of[left], prepend=-1))
        leaders = np.repeat(left[starts], np.diff(starts, append=len(left)))
        others = leaders != left
        pairs = np.stack([leaders[others], left[others]], axis=1)
        alike = _alike(looks, pairs)
        found.append(pairs[alike])
        left = pairs[~alike, 1]
    return np.concatenate(found)


def _confirmed(looks: Looks, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[_alike(looks, pairs)]


def _alike(looks: Looks, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which pairs differ by brightness and contrast alone.

    The hash ignores how much darker a cell is than the next; so pictures with large flat parts
    agree in it by chance. What is left of one coarse picture when the other, brightened and
    stretched, is taken away decides.
    """
    parts = [np.zeros(0, dtype=np.bool_)]
    for start in range(0, len(pairs), _ROWS_AT_ONCE):
        rows = pairs[start : start + _ROWS_AT_ONCE]
        a, b = (looks.coarse[rows[:, side]].astype(np.float32) for side in (0, 1))
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        power_a, power_b = (a * a).mean(axis=1), (b * b).mean(axis=1)
        shared = (a * b).mean(axis=1)
        unexplained = 1 - np.clip(shared, 0, None) ** 2 / np.maximum(power_a * power_b, 1e-9)
        contrast = np.maximum(power_a, power_b)
        allowed = np.maximum(_FLAT_GREY_LEVELS**2, _UNEXPLAINED**2 * contrast)
        parts.append(unexplained * contrast <= allowed)
    return np.concatenate(parts)
