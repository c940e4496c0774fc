"""The Hampel filter: values far from the median of their neighbours are outliers.

After Hampel, "The influence curve and its role in robust estimation" (1974): the median
absolute deviation tells the usual spread, which outliers themselves cannot widen.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGMAS = 4.0
"""So many standard deviations from the median is an outlier."""
WINDOW = 5
"""Values of a causal window, the newest among them."""
_SIGMA_OF_MAD = 1.4826
"""Standard deviation of a normal distribution with a median absolute deviation of 1."""


class CausalHampel:
    """Judges each value by itself and those before it, as they come.

    A lasting change is believed once it fills most of the window.

    Args:
        window: Values to look at, the newest among them.
        sigmas: From where on a value is an outlier.
    """

    def __init__(self, window: int = WINDOW, sigmas: float = SIGMAS) -> None:
        self._values: deque[float] = deque(maxlen=window)
        self._sigmas = sigmas

    def is_outlier(self, value: float) -> bool:
        """Return whether the newest value stands out, and remember it."""
        self._values.append(value)
        if len(self._values) <= 2:  # noqa: PLR2004 - two values have no majority
            return False
        median = statistics.median(self._values)
        mad = statistics.median(abs(other - median) for other in self._values)
        return abs(value - median) > self._sigmas * _SIGMA_OF_MAD * mad

    def forget(self) -> None:
        """Start anew, after a pause."""
        self._values.clear()


def hampel(
    values: NDArray[np.float64], half_window: int = WINDOW, sigmas: float = SIGMAS
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Replace outliers by the median of their neighbours on both sides.

    It looks ahead: for labels, tracks and maps on the host, never for a model's input.

    Args:
        values: (T,) float64; NaN is a missing value and is filled in too.
        half_window: Neighbours on either side; fewer at the ends.
        sigmas: From where on a value is an outlier.

    Returns:
        The values (T,) without outliers, and which ones were replaced (T,).
    """
    if len(values) == 0:
        return values.astype(np.float64), np.zeros(0, dtype=np.bool_)
    padded = np.pad(values.astype(np.float64), half_window, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half_window + 1)
    filled = np.isfinite(around).any(axis=1)
    median = np.full(len(values), np.nan)
    mad = np.full(len(values), np.nan)
    median[filled] = np.nanmedian(around[filled], axis=1)
    mad[filled] = np.nanmedian(np.abs(around[filled] - median[filled, None]), axis=1)
    limit = sigmas * _SIGMA_OF_MAD * mad
    replaced = filled & ~(np.abs(values - median) <= limit)
    return np.where(replaced, median, values), replaced
