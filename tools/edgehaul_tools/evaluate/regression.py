"""Figures of models that answer with numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RegressionScores:
    """What a regression model answered.

    Attributes:
        units: (n,) what is resampled together.
        labels: Names of the K values.
        true: (n, K) what is so, in the values' own units.
        answered: (n, K) what the model said; NaN is no answer, and left out of the figures.
    """

    units: NDArray[np.int64]
    labels: tuple[str, ...]
    true: NDArray[np.float64]
    answered: NDArray[np.float64]

    @property
    def distance(self) -> NDArray[np.float64]:
        """(n,) Euclidean length of the error over all values; NaN where there is no answer."""
        length: NDArray[np.float64] = np.sqrt(((self.answered - self.true) ** 2).sum(axis=1))
        return length

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return mean absolute and root mean squared errors; see ``Scores``.

        ``mae`` and ``rmse`` are of :attr:`distance`, ``mae:NAME`` of one value alone.
        """
        usable = np.asarray(np.isfinite(self.answered).all(axis=1))
        weights = np.where(usable, weights, 0.0)
        distance = np.where(usable, self.distance, 0.0)
        found = {"mae": _mean(distance, weights), "rmse": _root(distance, weights)}
        if len(self.labels) > 1:
            error = np.where(usable[:, None], self.answered - self.true, 0.0)
            for column, label in enumerate(self.labels):
                found[f"mae:{label}"] = _mean(np.abs(error[:, column]), weights)
                found[f"rmse:{label}"] = _root(error[:, column], weights)
        return found


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    total = weights.sum()
    return float((values * weights).sum() / total) if total else math.nan


def _root(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    return math.sqrt(_mean(values**2, weights))
