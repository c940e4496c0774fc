"""Whether anything moves in a picture, for a twentieth of a millisecond.

The model need not look at a belt that stands still. Compared are means over small cells and a
running mean of those before (as in Wren et al. 1997, "Pfinder", without the variance), that one as
bright as the picture is by the whole: the sensor's noise and changes of light stay below the
threshold, an object of two cells does not. What is saved and lost: ``tests/bench/motion_gate.py``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.gating import MotionSection

_READ_SIDE_PX = 320
"""Of larger pictures not every pixel is read, but half as many of the longer side at the least."""
_HALVINGS = 2
"""Cells are of 4x4 pixels: no model finds what is smaller, and the noise of their mean is a quarter
of a pixel's."""
_LEAST_CELLS = 2
"""The noise of a single one may be anything where there are few."""
_LEARNING = 0.05
"""Weight of the newest picture in the mean: what stops is background after some 20 pictures."""
_BRIGHTNESS_PART = 0.5
"""Where more than this part has changed, the light has, or the camera: look, and learn anew."""
_MOST_GAIN = 1.15
"""So much brighter or darker by the whole is the lamps' or the exposure's doing, and no motion."""


class MotionGate:
    """Opens where something moves, and stays open for a while.

    Args:
        config: What counts as motion.
    """

    def __init__(self, config: MotionSection) -> None:
        self._config = config
        self._mean: NDArray[np.float32] | None = None
        self._open_until_s = -np.inf
        self._looked_at_s = -np.inf

    def opens(self, picture: NDArray[np.uint8], captured_at_s: float) -> bool:
        """Return whether this picture is to be looked at.

        Args:
            picture: What the model looks at, (height, width) or (height, width, channels), without
                padding.
            captured_at_s: Its capture time, UTC seconds.
        """
        config = self._config
        if self._moves(picture):
            self._open_until_s = captured_at_s + config.hold_s
        # Also what does not move is looked at now and then; and time may have jumped back.
        is_due = not 0 <= captured_at_s - self._looked_at_s < config.look_every_s
        if captured_at_s <= self._open_until_s or is_due:
            self._looked_at_s = captured_at_s
            return True
        return False

    def _moves(self, picture: NDArray[np.uint8]) -> bool:
        thinned = _thinned(picture)
        if self._mean is None or self._mean.shape != thinned.shape:
            self._mean = thinned.astype(np.float32)
            return True
        expected = cv2.convertScaleAbs(self._mean, alpha=_gain(self._mean, thinned))
        changed = cv2.absdiff(thinned, expected) > self._config.threshold
        count = np.count_nonzero(changed)
        if count > _BRIGHTNESS_PART * changed.size:
            self._mean = thinned.astype(np.float32)
        else:
            cv2.accumulateWeighted(thinned, self._mean, _LEARNING)
        return bool(count >= max(_LEAST_CELLS, self._config.least_part * changed.size))


def _gain(mean: NDArray[np.float32], thinned: NDArray[np.uint8]) -> float:
    """Return how much brighter the whole picture is than the mean, within limits."""
    before, now = cv2.mean(mean)[0], cv2.mean(thinned)[0]
    return min(max(now / max(before, 1.0), 1 / _MOST_GAIN), _MOST_GAIN)


def _thinned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return means over cells of a picture's middle channel, which is green.

    Halving twice takes a fifth of the time of a mean over 16 pixels at once.
    """
    stride = max(1, max(picture.shape[:2]) // _READ_SIDE_PX)
    plane = picture if picture.ndim == 2 else picture[:, :, picture.shape[2] // 2]  # noqa: PLR2004 - grey
    plane = np.ascontiguousarray(plane[::stride, ::stride])
    for _ in range(_HALVINGS):
        half = (max(1, plane.shape[1] // 2), max(1, plane.shape[0] // 2))
        plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8)
    return plane
