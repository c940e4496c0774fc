"""A histogram that grows with what it sees, so that one pass over the inputs is enough."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS_PER_SIDE = 4096
"""Bins below zero, and as many from zero on. At least half of one side's are in use, so that
each of 256 levels spans eight bins or more."""


class Histogram:
    """Extremes and counts of the values of one tensor.

    Bins begin at whole multiples of a power of two. When a value falls outside, pairs of bins
    are merged, which doubles their width; the counts are then exactly those that the wider bins
    would have had from the start, in whatever order the values came.

    Attributes:
        low: Lowest value seen; ``inf`` before the first.
        high: Highest value seen; ``-inf`` before the first.
        low_average: Exponential moving average of the lowest value of each input.
        high_average: The same of the highest.
    """

    def __init__(self, smoothing: float) -> None:
        self.low, self.high = math.inf, -math.inf
        self.low_average = self.high_average = 0.0
        self._smoothing = smoothing
        self._weight = 0.0
        self._exponent: int | None = None
        self._counts = np.zeros(2 * BINS_PER_SIDE, dtype=np.int64)

    @property
    def width(self) -> float:
        """Width of a bin."""
        return math.ldexp(1.0, self._exponent or 0)

    @property
    def empty(self) -> bool:
        """Whether no value has been seen."""
        return self.high < self.low

    def widen(self, low: float, high: float) -> None:
        """Take in the extremes of one more input; both finite, ``low <= high``."""
        self.low, self.high = min(self.low, low), max(self.high, high)
        # Averages that start at zero are biased towards it; divided by the weight that has come
        # in so far they are not (Kingma and Ba 2015, section 3).
        share = self._smoothing / (self._weight + self._smoothing * (1 - self._weight))
        self._weight += self._smoothing * (1 - self._weight)
        self.low_average += share * (low - self.low_average)
        self.high_average += share * (high - self.high_average)
        largest = max(-low, high, 0.0)
        if largest > 0:
            above = math.frexp(largest)[1]  # the power of two next above it
            self._grow_to(above - BINS_PER_SIDE.bit_length() + 1)

    def count(self, values: NDArray[Any]) -> None:
        """Count values within the extremes."""
        if self._exponent is None:  # nothing but zeros so far
            self._counts[BINS_PER_SIDE] += values.size
            return
        index = np.floor(values.astype(np.float64) * (1 / self.width)).astype(np.int64)
        index += BINS_PER_SIDE
        self._counts += np.bincount(index, minlength=2 * BINS_PER_SIDE)

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the counts (N,) and edges (N + 1,) of the bins from ``low`` or 0 to ``high`` or 0.

        Zero is always an edge.
        """
        first = min(0, math.floor(self.low / self.width)) + BINS_PER_SIDE
        last = max(0, math.floor(self.high / self.width) + 1) + BINS_PER_SIDE
        steps = np.arange(first - BINS_PER_SIDE, last - BINS_PER_SIDE + 1, dtype=np.float64)
        return self._counts[first:last], steps * self.width

    def _grow_to(self, exponent: int) -> None:
        if self._exponent is None:
            self._exponent = exponent
        quarter = BINS_PER_SIDE // 2
        while self._exponent < exponent and self._counts.any():
            merged = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.pad(merged, quarter)
            self._exponent += 1
        self._exponent = max(self._exponent, exponent)
