"""Whether anything moves in a picture, for a thirtieth of a millisecond.

The model need not look at a belt that stands still. Compared are a thinned picture and a running
mean of those before (as in Wren et al. 1997, "Pfinder", without the variance): noise and slow
changes of light stay below the threshold, an object of a few thinned pixels does not.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.gating import MotionSection

_THINNED_SIDE_PX = 80
"""About so many pixels of each side are compared."""
_LEARNING = 0.05
"""Weight of the newest picture in the mean: what stops is background after some 20 pictures."""
_BRIGHTNESS_PART = 0.5
"""Where more than this part has changed, the light has, or the camera: look, and learn anew."""


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

    def opens(self, canvas: NDArray[np.uint8], captured_at_s: float) -> bool:
        """Return whether this picture is to be looked at.

        Args:
            canvas: The picture as the model takes it, (height, width) or (height, width, channels).
            captured_at_s: Its capture time, UTC seconds.
        """
        config = self._config
        if self._moves(canvas):
            self._open_until_s = captured_at_s + config.hold_s
        # Also what does not move is looked at now and then; and time may have jumped back.
        is_due = not 0 <= captured_at_s - self._looked_at_s < config.look_every_s
        if captured_at_s <= self._open_until_s or is_due:
            self._looked_at_s = captured_at_s
            return True
        return False

    def _moves(self, canvas: NDArray[np.uint8]) -> bool:
        thinned = _thinned(canvas)
        if self._mean is None or self._mean.shape != thinned.shape:
            self._mean = thinned.astype(np.float32)
            return True
        changed = cv2.absdiff(thinned, self._mean.astype(np.uint8)) > self._config.threshold
        part = np.count_nonzero(changed) / changed.size
        if part > _BRIGHTNESS_PART:
            self._mean = thinned.astype(np.float32)
        else:
            cv2.accumulateWeighted(thinned, self._mean, _LEARNING)
        return bool(part >= self._config.least_part)


def _thinned(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return every n-th pixel, of colour pictures the middle channel, which is green."""
    step = max(1, min(canvas.shape[:2]) // _THINNED_SIDE_PX)
    picture = canvas if canvas.ndim == 2 else canvas[:, :, canvas.shape[2] // 2]  # noqa: PLR2004 - grey
    return np.ascontiguousarray(picture[::step, ::step])
