"""What features say about labels and about each other, without any model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_selection import mutual_info_classif  # type: ignore[import-untyped]  # has no types

from edgehaul_tools.dataset.feature_windows import FeatureWindows

_MOVES = 3
"""So often the labels are moved in time."""


def information_of(
    content: FeatureWindows, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each feature's mutual information (F,), and what it would seem to have anyway (F,).

    After Kraskov et al., "Estimating mutual information" (2004), as scikit-learn has it. The
    labels are moved in time and not shuffled: that leaves neighbours alike, as they are.
    """
    count, features, summaries = content.values.shape
    flat = content.values.reshape(count, -1)
    seed = int(random.integers(2**31))
    moved = [np.roll(content.labels, int(random.integers(count))) for _ in range(_MOVES)]
    found = [
        mutual_info_classif(flat, labels, random_state=seed)
        .reshape(features, summaries)
        .max(axis=1)
        for labels in (content.labels, *moved)
    ]
    return found[0], np.mean(found[1:], axis=0)


def rank_correlation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Spearman's correlation (F, F) of the columns; that of a constant one is 0."""
    order = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0).astype(np.float64)
    # Equal values share their mean rank: else a mostly constant column would seem to vary.
    for column in range(values.shape[1]):
        _, inverse = np.unique(values[:, column], return_inverse=True)
        sums, counts = np.bincount(inverse, order[:, column]), np.bincount(inverse)
        order[:, column] = (sums / counts)[inverse]
    centred = order - order.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    length[length == 0] = np.inf
    correlation: NDArray[np.float64] = (centred / length).T @ (centred / length)
    np.fill_diagonal(correlation, 1.0)
    return correlation
