"""How sure a figure is: resampling of the units that a measurement consists of.

Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), percentile
intervals of resampled groups. A unit is what is independent of the others: a picture, or where
a dataset names enough cameras or days, such a group; of traces a whole trip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
_LEAST_DEFINED = 0.5
"""An interval needs at least so many of the resamples: in the others a figure is undefined."""
_FEWEST_UNITS = 2


class Scores(Protocol):
    """What a model answered on labelled samples, kept so that figures follow quickly.

    Attributes:
        units: (n,) int64, the unit of each sample, from 0.
    """

    @property
    def units(self) -> NDArray[np.int64]:
        """(n,) int64, the unit of each sample, from 0."""
        ...

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return all figures by name, NaN where one is undefined.

        Args:
            weights: (n,) how often each sample counts.
        """
        ...


class Estimate(msgspec.Struct, frozen=True):
    """A figure and how sure it is.

    Attributes:
        value: The figure on all samples; none where it is undefined.
        low: Lower end of the 95 % interval; none where there is none.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Return ``0.912 (0.874 to 0.941)``."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return short(self.value)
        return f"{short(self.value)} ({short(self.low)} to {short(self.high)})"


def short(value: float) -> str:
    """Return a figure as people read it: three decimals, or four digits where it is large."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"  # noqa: PLR2004 - all said above


def resampled(units: NDArray[np.int64], resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the weight of each sample (n,) in each resample; the same seed, the same ones."""
    random = np.random.default_rng(seed)
    count = int(units.max()) + 1 if len(units) else 0
    if count < _FEWEST_UNITS:
        return
    for _ in range(resamples):
        drawn = np.bincount(random.integers(0, count, count), minlength=count)
        yield drawn[units].astype(np.float64)


def draws_of(scores: Scores, resamples: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return each figure in each resample, by name; empty with a single unit."""
    draws = [scores.figures(weights) for weights in resampled(scores.units, resamples, seed)]
    if not draws:
        return {}
    return {name: np.array([draw[name] for draw in draws]) for name in draws[0]}


def estimates_of(
    figures: Mapping[str, float], draws: Mapping[str, NDArray[np.float64]]
) -> dict[str, Estimate]:
    """Return the figures with their intervals."""
    return {name: _estimate(value, draws.get(name)) for name, value in figures.items()}


def estimate(
    scores: Scores, resamples: int, seed: int, mask: NDArray[np.bool_] | None = None
) -> dict[str, Estimate]:
    """Return the figures of the samples in ``mask`` (all without one) with their intervals."""
    chosen = np.ones(len(scores.units)) if mask is None else mask.astype(np.float64)
    figures = scores.figures(chosen)
    draws = [
        scores.figures(weights * chosen) for weights in resampled(scores.units, resamples, seed)
    ]
    by_name = {n: np.array([d[n] for d in draws]) for n in figures} if draws else {}
    return estimates_of(figures, by_name)


def interval(draws: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the percentile interval of a figure's resamples; none where too few are defined."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(1, _LEAST_DEFINED * len(draws)):
        return None
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def difference_p(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of resampled paired differences: are they apart from 0?

    Twice the smaller share of the resamples on either side of 0, itself counted to both, with
    one added (Davison and Hinkley 1997, section 4.2.3), so that it is never 0.
    """
    defined = differences[np.isfinite(differences)]
    if not len(defined):
        return 1.0
    sides = (np.sum(defined <= 0), np.sum(defined >= 0))
    return float(min(1.0, 2 * (min(sides) + 1) / (len(defined) + 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (S. Holm, 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    largest = 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = largest
    return [float(p) for p in corrected]


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each name (n,) int64, counted from 0 in the order of the names."""
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1].astype(np.int64)


def _estimate(value: float, draws: NDArray[np.float64] | None) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None)
    ends = interval(draws) if draws is not None else None
    return Estimate(float(value), *ends) if ends else Estimate(float(value))
