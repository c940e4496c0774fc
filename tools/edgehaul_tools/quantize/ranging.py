"""From the distribution of a tensor's values to the range that eight bits should span."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.quantize.histogram import Histogram

Method = Literal["minmax", "moving-average", "percentile", "entropy", "mse"]
Range = tuple[float, float]

SMOOTHING = 0.01
"""Weight of each input in the moving average of extremes."""
PERCENTILE = 99.999
LEVELS = 256
_MERGED = 2
"""Bins that entropy looks at as one: 1,024 to 2,048 a side, as the method's author has."""
_SHARES: list[float] = np.geomspace(1 / 64, 1.0, 25).tolist()
"""Parts of a side's extreme that are tried as its end."""
_NEARBY: list[float] = np.geomspace(_SHARES[-2], 1 / _SHARES[-2], 9).tolist()
"""Multiples of the best of them that are tried then: up to the next on either side."""


def range_of(histogram: Histogram, method: Method) -> Range:
    """Return the lowest and highest value to represent; zero always lies between.

    * ``minmax``: all values.
    * ``moving-average``: exponential moving averages of each input's extremes (Jacob et al.
      2018, "Quantization and training of neural networks for efficient integer-arithmetic-only
      inference", section 3.1), each input weighing 0.01, without bias towards the first.
    * ``percentile``: all but the outermost 0.001 % of the values.
    * ``entropy``: least Kullback-Leibler divergence between the values and their rounded form
      (Migacz 2017, "8-bit inference with TensorRT"), each side of zero with an end of its own.
    * ``mse``: least squared error of rounding and clipping.
    """
    if histogram.empty:
        return 0.0, 0.0
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "moving-average":
        low, high = histogram.low_average, histogram.high_average
    elif method != "minmax" and low < high:
        chosen = {"percentile": _percentile, "entropy": _entropy, "mse": _mse}[method](histogram)
        # Bins reach beyond the extremes by part of a bin.
        low, high = max(low, chosen[0]), min(high, chosen[1])
    return min(low, 0.0), max(high, 0.0)


def _percentile(histogram: Histogram) -> Range:
    counts, edges = histogram.counts()
    share = np.cumsum(counts) / max(1, counts.sum())
    outside = (1 - PERCENTILE / 100) / 2
    low = int(np.searchsorted(share, outside, side="right"))
    high = int(np.searchsorted(share, 1 - outside))
    return float(edges[low]), float(edges[min(high + 1, len(counts))])


def _mse(histogram: Histogram) -> Range:
    counts, edges = histogram.counts()
    used = counts > 0
    weights = counts[used].astype(np.float64)
    centers = ((edges[:-1] + edges[1:]) / 2)[used]

    def error(low: float, high: float) -> float:
        step = (high - low) / (LEVELS - 1)
        zero = np.rint(-low / step)
        rounded = np.rint(centers / step)
        np.clip(rounded, -zero, LEVELS - 1 - zero, out=rounded)
        rounded *= step
        rounded -= centers
        return float(np.dot(weights, rounded * rounded))

    return _least(error, float(edges[0]), float(edges[-1]))


def _entropy(histogram: Histogram) -> Range:
    fine, edges = histogram.counts()
    width = histogram.width * _MERGED
    # As many empty bins at both ends as it takes to merge groups that begin at zero.
    below_zero = -round(float(edges[0]) / histogram.width)
    padded = np.pad(fine, (-below_zero % _MERGED, (below_zero - len(fine)) % _MERGED))
    counts = padded.reshape(-1, _MERGED).sum(axis=1).astype(np.float64)
    origin = -(-below_zero // _MERGED)
    _level_zero(counts, origin)
    total = counts.sum()
    below = np.concatenate([[0.0], np.cumsum(counts)])
    if total == 0:
        return float(edges[0]), float(edges[-1])

    def divergence(low: float, high: float) -> float:
        first = origin + math.floor(low / width)
        last = origin + max(math.ceil(high / width), math.floor(low / width) + 1)
        return _divergence(counts[first:last], below[first], total - below[last], total)

    return _least(divergence, float(edges[0]), float(edges[-1]))


def _level_zero(counts: NDArray[np.float64], origin: int) -> None:
    """Give the bin that begins with zero its neighbour's count.

    Zero is represented without error in any range. The many zeros behind a Relu would hide how
    all other values are distributed.
    """
    if origin + 1 < len(counts):
        counts[origin] = counts[origin + 1]
    elif origin < len(counts):
        counts[origin] = 0


def _divergence(inside: NDArray[np.float64], under: float, over: float, total: float) -> float:
    """Return KL(P || Q): P the values with the clipped ones at the ends, Q the rounded ones.

    Args:
        inside: Counts of the bins within the range.
        under: How many values lie below them.
        over: How many lie above.
        total: All of them.
    """
    bins = len(inside)
    starts = np.arange(min(LEVELS, bins)) * bins // min(LEVELS, bins)
    used = inside > 0
    sums = np.add.reduceat(inside, starts)
    holders = np.add.reduceat(used.astype(np.float64), starts)
    level_means = sums / np.maximum(holders, 1)
    rounded = np.repeat(level_means, np.diff(np.append(starts, bins))) * used
    clipped = inside.copy()
    clipped[0] += under
    clipped[-1] += over
    # One value's share, where clipped values end in a bin that was empty.
    rounded_share = np.maximum(rounded / max(inside.sum(), 1.0), 1 / total)
    share = clipped / total
    some = share > 0
    return float(np.dot(share[some], np.log(share[some] / rounded_share[some])))


def _least(cost: Callable[[float, float], float], lowest: float, highest: float) -> Range:
    """Return the ends with the least cost, found side by side, each twice where both move."""
    low, high = lowest, highest

    def of_high(end: float, other: float) -> float:
        return cost(other, end)

    for _ in range(2 if lowest < 0 < highest else 1):
        if highest > 0:
            high = _least_end(of_high, highest, low)
        if lowest < 0:
            low = _least_end(cost, lowest, high)
    return low, high


def _least_end(cost: Callable[[float, float], float], extreme: float, other: float) -> float:
    share = min(_SHARES, key=lambda tried: cost(extreme * tried, other))
    nearby = [min(share * multiple, 1.0) for multiple in _NEARBY]
    return extreme * min(nearby, key=lambda tried: cost(extreme * tried, other))
