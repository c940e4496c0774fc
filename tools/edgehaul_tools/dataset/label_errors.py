"""Which labels are likely wrong: confident learning on what objects look like."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]  # no stubs
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # no stubs
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]  # no stubs
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]  # no stubs
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]  # no stubs

_FOLDS = 5
_FEWEST_GROUPS = 3
"""A class in fewer groups is not to be learnt from others than those that are judged."""
_FEWEST_OBJECTS = 10
_STRENGTH = 0.02
"""Inverse of the penalty on the weights: some of what is learnt from is labelled wrongly."""

Classes = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Suspect:
    """An object whose label is likely wrong.

    Attributes:
        index: Which of the objects.
        given: The class it has.
        suggested: The class it looks like.
        given_probability: Of the given class, by a model that has not seen the object's group.
        suggested_probability: Of the suggested one.
    """

    index: int
    given: int
    suggested: int
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True)
class LabelReview:
    """What came of looking for wrong labels.

    Attributes:
        suspects: The likeliest errors first.
        judged: Number of objects that were judged.
        learnt_from: Most objects that one model learnt from.
        accuracy: Share of the objects that look like what their label says.
        unjudged: Classes with too few objects or groups.
    """

    suspects: tuple[Suspect, ...]
    judged: int
    learnt_from: int
    accuracy: float
    unjudged: tuple[int, ...]


def review_labels(
    features: NDArray[np.float32], given: Classes, groups: Classes, *, per_class: int, seed: int = 0
) -> LabelReview:
    """Find the labels that are likely wrong.

    Every object is judged by a logistic regression that has learnt from other groups alone.
    It is a suspect if its probability of another class reaches what objects of that class
    have on average, as in the confident joint of Northcutt, Jiang and Chuang, "Confident
    Learning: Estimating Uncertainty in Dataset Labels" (2021). Suspects are ranked by the
    margin between the given class and the suggested one.

    Args:
        features: (N, F) what each object looks like.
        given: (N,) its class.
        groups: (N,) number of its group; objects of one group look alike for other reasons.
        per_class: Most objects of a class that a model learns from.
        seed: The same seed gives the same suspects.
    """
    judged, unjudged = _judgeable(given, groups)
    classes = np.unique(given[judged])
    if len(classes) < 2:  # noqa: PLR2004 - what else could it be
        return LabelReview((), 0, 0, 0.0, unjudged)
    rows = np.flatnonzero(judged)
    local = np.searchsorted(classes, given[rows])
    probabilities, learnt_from = _out_of_fold(features[rows], local, groups[rows], per_class, seed)
    suspects = tuple(
        Suspect(
            int(rows[row]),
            int(classes[local[row]]),
            int(classes[other]),
            float(probabilities[row, local[row]]),
            float(probabilities[row, other]),
        )
        for row, other in confident_errors(probabilities, local)
    )
    accuracy = float((probabilities.argmax(axis=1) == local).mean())
    return LabelReview(suspects, len(rows), learnt_from, accuracy, unjudged)


def confident_errors(probabilities: Probabilities, given: Classes) -> list[tuple[int, int]]:
    """Return (row, suggested class) off the diagonal of the confident joint, likeliest first.

    Args:
        probabilities: (N, C) by models that have not seen the row.
        given: (N,) class of each row; every class has one row at least.
    """
    rows = np.arange(len(given))
    own = probabilities[rows, given]
    threshold = np.array([own[given == c].mean() for c in range(probabilities.shape[1])])
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    wrong = (confident.max(axis=1) >= 0) & (suggested != given)
    margin = own - probabilities[rows, suggested]
    chosen = rows[wrong & (margin < 0)]
    return [(int(r), int(suggested[r])) for r in chosen[np.argsort(margin[chosen], kind="stable")]]


def _judgeable(given: Classes, groups: Classes) -> tuple[NDArray[np.bool_], tuple[int, ...]]:
    """Return which objects can be judged, and the classes that cannot."""
    few = [
        int(c)
        for c in np.unique(given)
        if (given == c).sum() < _FEWEST_OBJECTS
        or len(np.unique(groups[given == c])) < _FEWEST_GROUPS
    ]
    return ~np.isin(given, few), tuple(few)


def _out_of_fold(
    features: NDArray[np.float32], given: Classes, groups: Classes, per_class: int, seed: int
) -> tuple[Probabilities, int]:
    """Return each object's probabilities by a model that learnt from other groups."""
    count = int(given.max()) + 1
    probabilities = np.zeros((len(given), count))
    folds = StratifiedGroupKFold(
        min(_FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed
    )
    rng = np.random.default_rng(seed)
    most = 0
    with warnings.catch_warnings():
        # Neither weights that still move a little nor a class in fewer groups than folds
        # spoils a ranking.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        for learnt, held_out in folds.split(features, given, groups):
            sample = _at_most(learnt, given, per_class, rng)
            most = max(most, len(sample))
            if len(np.unique(given[sample])) < 2:  # noqa: PLR2004 - nothing to tell apart
                probabilities[held_out, given[sample[0]]] = 1.0
                continue
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=200, tol=1e-3)
            )
            model.fit(features[sample], given[sample])
            probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(
                features[held_out]
            )
    return probabilities, most


def _at_most(rows: Classes, given: Classes, per_class: int, rng: np.random.Generator) -> Classes:
    """Return the rows with no more than ``per_class`` of each class, chosen by chance."""
    shuffled = rng.permutation(rows)
    order = np.argsort(given[shuffled], kind="stable")
    classes = given[shuffled][order]
    starts = np.searchsorted(classes, classes)
    return np.asarray(shuffled[order][np.arange(len(order)) - starts < per_class])
