"""Figures of classifiers: confusion, precision, recall and F1, weighted by samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

NO_ANSWER = -1
"""Class of an answer that is no number: it is never right."""


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """Figures of each class, from a confusion matrix; NaN where one is undefined.

    Attributes:
        precision: (C,) share of the answers with this class that are right.
        recall: (C,) share of the class that is found.
        f1: (C,) harmonic mean of both.
        support: (C,) samples of the class.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.float64]


def confusion_matrix(
    true: NDArray[np.int64],
    answered: NDArray[np.int64],
    classes: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return how often each true class got which answer.

    Args:
        true: (n,) true classes.
        answered: (n,) answers, ``NO_ANSWER`` among them.
        classes: Number of classes.
        weights: (n,) how often each sample counts; once each without.

    Returns:
        (classes, classes + 1): rows are true classes; the last column is no answer.
    """
    columns = np.where(answered == NO_ANSWER, classes, answered)
    places = true * (classes + 1) + columns
    counts = np.bincount(places, weights=weights, minlength=classes * (classes + 1))
    return counts.astype(np.float64).reshape(classes, classes + 1)


def class_figures(matrix: NDArray[np.float64]) -> ClassFigures:
    """Return the figures of each class of a confusion matrix (C, C + 1)."""
    classes = len(matrix)
    hits = np.diagonal(matrix[:, :classes])
    support, answers = matrix.sum(axis=1), matrix[:, :classes].sum(axis=0)
    return ClassFigures(
        precision=_ratio(hits, answers),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + answers),
        support=support,
    )


def summary(matrix: NDArray[np.float64]) -> dict[str, float]:
    """Return accuracy, balanced accuracy and the means over the classes.

    ``macro_`` figures are means over the classes that occur or were answered, as those of
    scikit-learn; precision of a class that is never answered counts as 0 there.
    """
    each = class_figures(matrix)
    occurs = ~np.isnan(each.f1)
    total = matrix.sum()
    return {
        "accuracy": float(np.trace(matrix) / total) if total else math.nan,
        "balanced_accuracy": _mean(each.recall[each.support > 0]),
        "macro_precision": _mean(np.nan_to_num(each.precision[occurs])),
        "macro_recall": _mean(np.nan_to_num(each.recall[occurs])),
        "macro_f1": _mean(each.f1[occurs]),
    }


@dataclass(frozen=True, eq=False)
class ClassScores:
    """What a classifier answered.

    Attributes:
        units: (n,) what is resampled together.
        true: (n,) true classes.
        probabilities: (n, C); a row with NaN is no answer.
        normal: Class that is no event; the mean F1 of the others is a figure, too. None: -1.
    """

    units: NDArray[np.int64]
    true: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    normal: int = -1

    @cached_property
    def answered(self) -> NDArray[np.int64]:
        """(n,) the likeliest class of each, or ``NO_ANSWER``."""
        usable = np.isfinite(self.probabilities).all(axis=1)
        best = np.nan_to_num(self.probabilities).argmax(axis=1)
        return np.where(usable, best, NO_ANSWER)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(n,) probability of the likeliest class; 0 where there is no answer."""
        best = np.nan_to_num(self.probabilities).max(axis=1)
        return np.where(self.answered == NO_ANSWER, 0.0, best)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) whether the likeliest class is the true one."""
        return np.asarray(self.answered == self.true)

    def matrix(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the confusion matrix (C, C + 1)."""
        return confusion_matrix(self.true, self.answered, self.probabilities.shape[1], weights)

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return the figures of :func:`summary`; see :class:`Scores`."""
        return self.figures_of(self.matrix(weights))

    def figures_of(self, matrix: NDArray[np.float64]) -> dict[str, float]:
        """Return the same of a confusion matrix (C, C + 1)."""
        found = summary(matrix)
        if self.normal >= 0:
            events = np.delete(class_figures(matrix).f1, self.normal)
            found = {"event_f1": _mean(events[~np.isnan(events)])} | found
        return found


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    ratio = np.full(len(part), math.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
