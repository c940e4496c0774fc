"""What is true of labelled samples, so that each further model costs one pass over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgehaul.vision.decode import Detections
from edgehaul_tools.evaluate.bootstrap import Scores
from edgehaul_tools.evaluate.classification import ClassScores, class_figures
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.quantize.answers import Outputs, Prepared

Answer = NDArray[np.float64] | Detections
"""What a model answers to one sample: its detections, or its numbers."""


def _the_same(scores: Scores) -> Scores:
    return scores


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Labelled samples, and how a model's answers to them become figures.

    Attributes:
        main: The figure that models are judged by.
        class_figure: The figure of each class: ``scores`` give it as ``FIGURE:LABEL``.
        unit: What is resampled together, as one word.
        samples_of: Samples or objects of each class by its label.
        inputs: The samples as the model's inputs; every pass gives the same ones.
        answer: From a model's outputs for one of them to what is kept of it.
        score: From the answers to all of them, in order, to figures and their resamples.
        to_resample: The same scores with the main figure and those of classes alone, where
            that is quicker.
        notes: What the user should know of the choice of samples.
    """

    main: str
    class_figure: str
    unit: str
    samples_of: Mapping[str, int]
    inputs: Iterable[Prepared]
    answer: Callable[[Outputs, Prepared], Answer]
    score: Callable[[Sequence[Answer]], Scores]
    to_resample: Callable[[Scores], Scores] = _the_same
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ByClass:
    """Scores of a classifier with a figure of each class among them.

    Attributes:
        scores: What it answered.
        labels: Names of the classes.
        figure: ``recall`` or ``f1``.
    """

    scores: ClassScores
    labels: tuple[str, ...]
    figure: str

    @property
    def units(self) -> NDArray[np.int64]:
        """(n,) what is resampled together."""
        return self.scores.units

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return those of :class:`ClassScores` and ``FIGURE:LABEL``; see ``Scores``."""
        matrix = self.scores.matrix(weights)
        each = class_figures(matrix)
        values = each.recall if self.figure == "recall" else each.f1
        named = {f"{self.figure}:{n}": float(v) for n, v in zip(self.labels, values, strict=True)}
        return self.scores.figures_of(matrix) | named


@dataclass(frozen=True, eq=False)
class RecallScores:
    """Accuracy and the recall of each class alone: no confusion matrix for each resample.

    Attributes:
        scores: What a classifier answered.
        labels: Names of the classes.
    """

    scores: ClassScores
    labels: tuple[str, ...]

    @property
    def units(self) -> NDArray[np.int64]:
        """(n,) what is resampled together."""
        return self.scores.units

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return ``accuracy`` and ``recall:LABEL`` as :class:`ByClass` does."""
        count = len(self.labels)
        support = np.bincount(self.scores.true, weights, count)
        hits = np.bincount(self.scores.true, weights * self.scores.correct, count)
        recall = np.full(count, math.nan)
        np.divide(hits, support, out=recall, where=support > 0)
        total = float(support.sum())
        return {
            "accuracy": float(hits.sum()) / total if total else math.nan,
            **{f"recall:{n}": v for n, v in zip(self.labels, recall.tolist(), strict=True)},
        }


@dataclass(frozen=True, eq=False)
class ByKind:
    """Scores of an anomaly model with the recall of either kind among them.

    Attributes:
        scores: What it answered.
    """

    scores: AnomalyScores

    @cached_property
    def units(self) -> NDArray[np.int64]:
        """(n,) what is resampled together."""
        return self.scores.units

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return those of :class:`AnomalyScores` and ``recall:KIND``; see ``Scores``."""
        found = self.scores.figures(weights)
        kinds = {"anomaly": found["recall"], "normal": 1 - found["false_alarm_rate"]}
        return found | {f"recall:{kind}": value for kind, value in kinds.items()}


def counted(classes: NDArray[np.int64], labels: Sequence[str]) -> dict[str, int]:
    """Return the number of samples of each class by its label."""
    counts = np.bincount(classes, minlength=len(labels))
    return {label: int(count) for label, count in zip(labels, counts, strict=True)}


def count_lost(answers: Sequence[Answer]) -> int:
    """Return how many answers are no numbers."""
    return sum(
        not np.isfinite(answer).all() for answer in answers if not isinstance(answer, Detections)
    )


def rows_of(answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Return answers that are numbers as (n, K)."""
    return np.array(answers, dtype=np.float64).reshape(len(answers), -1)
