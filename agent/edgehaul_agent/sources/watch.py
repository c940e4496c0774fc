"""Pictures that say that a camera is at fault: the same one for ever, and black ones."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from typing import Literal

import numpy as np

from edgehaul.values import Image

Sight = Literal["moving", "still", "frozen", "black"]

_SAMPLED_ROWS = 16
_REMEMBERED = 16
"""More different pictures in turn than a frozen one becomes, and fewer than any clip in a loop."""
_BLACK_MEAN = 16.0
_BLACK_DEVIATION = 4.0
"""Video black is 16, and what a covered sensor adds is noise of a few levels; a night scene has
lights, which deviate."""


class PictureWatch:
    """Looks at one picture after the other.

    A picture is new unless it equals, bit for bit, one of the last few different ones: an encoder
    behind a frozen sensor makes one picture of its key frames and another of the differences, and
    they take turns. To look for that costs next to nothing: every sixteenth row is compared by its
    checksum, and only where that is known the checksum of the whole picture.

    Args:
        frozen_after_s: The same picture bit for bit for so long is frozen; 0 never.
        black_after_s: Black pictures for so long are a black camera; 0 never. Black goes before
            frozen: a new connection does not help a covered lens.
    """

    def __init__(self, *, frozen_after_s: float, black_after_s: float) -> None:
        self._frozen_after_s = frozen_after_s
        self._black_after_s = black_after_s
        self.restart()

    def restart(self) -> None:
        """Forget what was seen, for a new connection."""
        self._known: OrderedDict[tuple[int, ...], int | None] = OrderedDict()
        self._changed_at_s = self._bright_at_s = float("inf")

    def look(self, image: Image, *, now_s: float) -> Sight:
        """Return what the picture shows.

        Args:
            image: (height, width, 3) uint8.
            now_s: Time on a clock that never goes back.
        """
        rows = image[::_SAMPLED_ROWS]
        if self._black_after_s and self._is_dark(rows):
            self._known.clear()
            self._bright_at_s = min(self._bright_at_s, now_s)
            is_black = now_s - self._bright_at_s >= self._black_after_s
            return "black" if is_black else "still"
        self._bright_at_s = now_s
        if not self._is_known(image, rows):
            self._changed_at_s = now_s
            return "moving"
        if self._frozen_after_s and now_s - self._changed_at_s >= self._frozen_after_s:
            return "frozen"
        return "still"

    def _is_known(self, image: Image, rows: Image) -> bool:
        sample = (*image.shape, zlib.crc32(np.ascontiguousarray(rows).data))
        if sample not in self._known:
            self._known[sample] = None
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return False
        self._known.move_to_end(sample)
        former, whole = self._known[sample], zlib.crc32(np.ascontiguousarray(image).data)
        self._known[sample] = whole
        # At the first return of a sample it must do for the whole; the next return decides.
        return former in (None, whole)

    @staticmethod
    def _is_dark(rows: Image) -> bool:
        return bool(rows.mean() <= _BLACK_MEAN and rows.std() <= _BLACK_DEVIATION)
