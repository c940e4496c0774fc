"""Pictures that say little about a model: all alike, of one colour, or far too small."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput

_SAMPLED = 64
"""Rows and columns that are looked at: enough to tell pictures apart, and 1 % of the work."""
_SMALL = 0.5


class PictureFaults:
    """What is odd about the pictures seen, in constant memory but for a digest of each."""

    def __init__(self) -> None:
        self._seen = 0
        self._digests: set[bytes] = set()
        self._plain = 0
        self._sizes: list[tuple[int, int]] = []

    def see(self, picture: NDArray[np.uint8]) -> None:
        """Take in one picture, (height, width, 3)."""
        height, width = picture.shape[:2]
        sample = np.ascontiguousarray(
            picture[:: max(1, height // _SAMPLED), :: max(1, width // _SAMPLED)]
        )
        self._seen += 1
        self._sizes.append((width, height))
        self._digests.add(hashlib.blake2b(sample.tobytes(), digest_size=16).digest())
        colours = sample.reshape(-1, sample.shape[-1])
        self._plain += bool((colours == colours[0]).all())

    def warnings(self, canvas: ImageInput) -> tuple[str, ...]:
        """Return what the user should know, where the pictures become inputs ``canvas``."""
        lines = []
        if self._seen > 1 and len(self._digests) == 1:
            lines.append(f"all {self._seen} pictures are the same: their ranges are those of one")
        elif len(self._digests) * 2 < self._seen:
            lines.append(f"only {len(self._digests)} of {self._seen} pictures differ")
        if self._plain:
            lines.append(f"{self._plain} of {self._seen} pictures are of one colour")
        small = [
            (width, height)
            for width, height in self._sizes
            if max(width / canvas.width, height / canvas.height) < _SMALL
        ]
        if small:
            width, height = min(small)
            lines.append(
                f"{len(small)} of {self._seen} pictures are much smaller than the input "
                f"({width}x{height} for {canvas.width}x{canvas.height}): they are blurred"
            )
        return tuple(lines)
