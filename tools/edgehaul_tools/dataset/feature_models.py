"""How well gradient boosting tells labels apart, on recordings that it has not seen."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]  # has no types
from sklearn.metrics import f1_score  # type: ignore[import-untyped]  # has no types
from sklearn.model_selection import StratifiedGroupKFold  # type: ignore[import-untyped]  # has no types
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # has no types

from edgehaul_tools.dataset.feature_windows import FeatureWindows

_FOLDS = 5
_REPEATS = 5
"""So often each feature is shuffled."""


def _model(seed: int = 0) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=30,
        learning_rate=0.2,
        max_leaf_nodes=15,
        class_weight="balanced",
        random_state=seed,
    )


def _folds(content: FeatureWindows) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    groups = len(np.unique(content.groups))
    _, counts = np.unique(content.labels, return_counts=True)
    # In order, not at random: the groups' numbers alone decide, so it is always the same.
    folding = StratifiedGroupKFold(min(_FOLDS, groups, int(counts.min())))
    folds = folding.split(content.values, content.labels, content.groups)
    return [(a, b) for a, b in folds if len(np.unique(content.labels[a])) > 1]


def _macro_f1(truth: NDArray[np.str_], answers: NDArray[np.str_]) -> float:
    """Return the mean F1 over the labels that are there, or that were answered."""
    return float(f1_score(truth, answers, average="macro", zero_division=0))


def _flat(content: FeatureWindows, features: list[int]) -> NDArray[np.float64]:
    return content.values[:, features].reshape(len(content), -1)


def held_out_f1(content: FeatureWindows, features: list[int]) -> float:
    """Return the macro F1 of the answers to all held-out windows together."""
    values = _flat(content, features)
    truth, answers = [], []
    with _one_thread():
        for learnt, held_out in _folds(content):
            model = _model().fit(values[learnt], content.labels[learnt])
            truth.append(content.labels[held_out])
            answers.append(model.predict(values[held_out]))
    return _macro_f1(np.concatenate(truth), np.concatenate(answers))


def importances(
    content: FeatureWindows, features: list[int], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the macro F1 lost by shuffling each feature (features, folds).

    After Breiman, "Random forests" (2001), with all summaries of a feature shuffled together,
    and on groups that the model has not seen.
    """
    values, losses = _flat(content, features), []
    with _one_thread():
        for learnt, held_out in _folds(content):
            model = _model().fit(values[learnt], content.labels[learnt])
            truth, inputs = content.labels[held_out], values[held_out]
            before = _macro_f1(truth, model.predict(inputs))
            after = np.zeros((len(features), _REPEATS))
            for place in range(len(features)):
                for repeat in range(_REPEATS):
                    shuffled = _shuffled(inputs, place, content.values.shape[2], random)
                    after[place, repeat] = _macro_f1(truth, model.predict(shuffled))
            losses.append(before - after.mean(axis=1))
    return np.stack(losses, axis=1)


def _shuffled(
    inputs: NDArray[np.float64], place: int, summaries: int, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the windows with all summaries of one feature taken from other windows."""
    columns = slice(place * summaries, (place + 1) * summaries)
    result = inputs.copy()
    result[:, columns] = inputs[random.permutation(len(inputs)), columns]
    return result


def _one_thread() -> AbstractContextManager[object]:
    """Keep scikit-learn to one thread.

    The sets are small, and its threads spin while they wait for each other: where another
    program had one of two processors, a ranking took six times as long.
    """
    limits: AbstractContextManager[object] = threadpool_limits(limits=1)
    return limits
