"""Parts of a picture covered, so that an object is known by more than one of its parts.

Source: DeVries and Taylor 2017, "Improved Regularization of Convolutional Neural Networks
with Cutout".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.train.pictures.canvases import IGNORED
from edgehaul_tools.train.pictures.geometry import LEAST_VISIBLE, Picture

_COUNT = (1, 4)
_SIDE = (0.06, 0.25)
"""Side of a cover as a share of the canvas's."""


def random_cut_out(picture: Picture, random: np.random.Generator) -> Picture:
    """Return the picture with one to four rectangles covered in a chance colour.

    An object of which less than ``LEAST_VISIBLE`` is left becomes ``IGNORED``.
    """
    height, width = picture.image.shape[:2]
    image = picture.image.copy()
    count = int(random.integers(_COUNT[0], _COUNT[1] + 1))
    sides = random.uniform(*_SIDE, (count, 2)) * (width, height)
    corners = random.uniform(0, 1, (count, 2)) * ((width, height) - sides)
    covers = np.rint(np.concatenate((corners, corners + sides), axis=1)).astype(np.int64)
    for x1, y1, x2, y2 in covers:
        image[y1:y2, x1:x2] = random.integers(0, 256, image.shape[2])
    hidden = _hidden_share(picture.boxes, covers)
    classes = np.where(hidden > 1 - LEAST_VISIBLE, IGNORED, picture.classes)
    return Picture(image, picture.boxes, classes)


def _hidden_share(boxes: NDArray[np.float32], covers: NDArray[np.int64]) -> NDArray[np.floating]:
    """Return how much of each box (k, 4) lies under the covers (n, 4).

    Where covers overlap it counts twice: an object is rather left out than asked for in vain.
    """
    low = np.maximum(boxes[:, None, :2], covers[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], covers[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(shared / np.maximum(area, 1e-9))
