"""Parts of a set of pictures: by camera, and by how light it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.vision.reading import require_picture
from edgehaul_tools.dataset.samples import Sample
from edgehaul_tools.evaluate.bootstrap import numbered
from edgehaul_tools.evaluate.examined import Image, SliceOf

LIGHTS = ("dark", "medium", "bright")
_MOST_CAMERAS = 12
FEWEST_GROUPS = 10
"""From so many groups on, groups are resampled rather than pictures."""


def read_picture(sample: Sample) -> Image:
    """Return a picture (height, width, 3) BGR.

    Raises:
        DataError: It cannot be decoded.
    """
    return require_picture(sample.path)


def units_of(samples: Sequence[Sample]) -> tuple[NDArray[np.int64], str]:
    """Return what is resampled together, and what that is: groups where there are enough."""
    groups = numbered([sample.group for sample in samples])
    if FEWEST_GROUPS <= len(np.unique(groups)) < len(samples):
        return groups, "group"
    return np.arange(len(samples), dtype=np.int64), "picture"


def slice_pictures(samples: Sequence[Sample], kinds: Collection[str]) -> tuple[SliceOf, ...]:
    """Return the parts that are asked for and make sense.

    Cameras are those groups that hold more than one picture, at most twelve; light is the mean
    brightness, in thirds.
    """
    found: list[SliceOf] = []
    if "camera" in kinds:
        counts = Counter(sample.group for sample in samples)
        if 1 < len(counts) <= _MOST_CAMERAS:
            found += [
                _slice("camera", group, np.array([s.group == group for s in samples]))
                for group in sorted(counts)
            ]
    if "light" in kinds and len(samples) >= len(LIGHTS):
        level = np.array([_brightness(sample) for sample in samples])
        third = np.searchsorted(np.quantile(level, [1 / 3, 2 / 3]), level)
        found += [_slice("light", name, third == n) for n, name in enumerate(LIGHTS)]
    return tuple(part for part in found if part.samples)


def _slice(kind: str, name: str, mask: NDArray[np.bool_]) -> SliceOf:
    return SliceOf(kind, name, mask, int(mask.sum()))


def _brightness(sample: Sample) -> float:
    # Small pictures whole: a quarter of 28 pixels is too little to tell.
    large = min(sample.width, sample.height) > 64  # noqa: PLR2004 - see above
    how = cv2.IMREAD_REDUCED_GRAYSCALE_4 if large else cv2.IMREAD_GRAYSCALE
    return float(require_picture(sample.path, how).mean())
