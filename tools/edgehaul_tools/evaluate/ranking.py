"""Figures of scores that rank: ROC, precision and recall, and where to put the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray


class OperatingPoint(msgspec.Struct, frozen=True):
    """What a threshold does: samples whose score is at least it are reported.

    Attributes:
        name: Why this threshold: ``model``, ``most_f1``, ...
        threshold: The score from which samples are reported.
        precision: Share of the reported that is true; none where nothing is reported.
        recall: Share of the true that is reported.
        f1: Harmonic mean of both.
        false_alarm_rate: Share of the others that is reported.
    """

    name: str
    threshold: float
    precision: float | None
    recall: float
    f1: float
    false_alarm_rate: float


@dataclass(frozen=True, eq=False)
class Curve:
    """Counts at each different score as the threshold, from the highest down.

    Attributes:
        thresholds: (k,) the scores.
        hits: (k,) true samples at or above each.
        false_alarms: (k,) other samples at or above each.
        positives: Number of true samples.
        negatives: Number of others.
    """

    thresholds: NDArray[np.float64]
    hits: NDArray[np.float64]
    false_alarms: NDArray[np.float64]
    positives: float
    negatives: float

    @property
    def recall(self) -> NDArray[np.float64]:
        """(k,) share of the true samples found; NaN where there are none."""
        return self.hits / (self.positives or math.nan)

    @property
    def false_alarm_rate(self) -> NDArray[np.float64]:
        """(k,) share of the other samples reported; NaN where there are none."""
        return self.false_alarms / (self.negatives or math.nan)

    @property
    def precision(self) -> NDArray[np.float64]:
        """(k,) share of the reported samples that is true; NaN where nothing is reported."""
        reported = self.hits + self.false_alarms
        undefined = np.full(len(reported), math.nan)
        np.divide(self.hits, reported, out=undefined, where=reported > 0)
        return undefined

    @property
    def auroc(self) -> float:
        """Area under the ROC curve; NaN where all samples are of one kind."""
        if not self.positives or not self.negatives:
            return math.nan
        recall, alarms = np.append(0.0, self.recall), np.append(0.0, self.false_alarm_rate)
        return float((np.diff(alarms) * (recall[1:] + recall[:-1]) / 2).sum())

    @property
    def average_precision(self) -> float:
        """Sum of precision times the gain in recall; NaN where no sample is true."""
        if not self.positives:
            return math.nan
        gain = np.diff(np.append(0.0, self.recall))
        return float((np.nan_to_num(self.precision) * gain).sum())

    def point(self, name: str, threshold: float) -> OperatingPoint:
        """Return what a threshold does."""
        place = int(np.sum(self.thresholds >= threshold)) - 1
        hits, alarms = (self.hits[place], self.false_alarms[place]) if place >= 0 else (0.0, 0.0)
        reported = hits + alarms
        return OperatingPoint(
            name=name,
            threshold=float(threshold),
            precision=float(hits / reported) if reported else None,
            recall=float(hits / self.positives) if self.positives else 0.0,
            f1=float(2 * hits / (reported + self.positives)) if hits else 0.0,
            false_alarm_rate=float(alarms / self.negatives) if self.negatives else 0.0,
        )


def curve_of(
    scores: NDArray[np.float64],
    truth: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> Curve:
    """Return the counts at every threshold.

    Args:
        scores: (n,) higher is more likely true; infinite is allowed, NaN not.
        truth: (n,) which samples are true.
        weights: (n,) how often each counts; once without.
    """
    order = np.argsort(-scores, kind="stable")
    each = np.ones(len(scores)) if weights is None else weights
    return _counted(scores[order], truth[order], each[order])


def choices(curve: Curve, *, false_alarms: float, target: float) -> tuple[OperatingPoint, ...]:
    """Return the thresholds that one may want.

    Args:
        curve: Of the scores.
        false_alarms: Share of the other samples that may be reported.
        target: Precision, and recall, that may be asked for.

    Returns:
        ``most_f1``, and where they can be reached ``precision`` (the most recall with that
        precision), ``recall`` (the highest threshold with that recall) and ``false_alarms``
        (the most recall with no more of them).
    """
    finite = np.isfinite(curve.thresholds)
    if not curve.positives or not curve.negatives or not finite.any():
        return ()
    reported = curve.hits + curve.false_alarms
    f1 = np.where(finite, 2 * curve.hits / (reported + curve.positives), -1.0)
    places = {"most_f1": np.array([int(f1.argmax())])}
    places["precision"] = np.flatnonzero(finite & (curve.precision >= target))[-1:]
    places["recall"] = np.flatnonzero(finite & (curve.recall >= target))[:1]
    few = finite & (curve.false_alarm_rate <= false_alarms)
    places["false_alarms"] = np.flatnonzero(few)[-1:]
    return tuple(
        curve.point(name, float(curve.thresholds[place]))
        for name, found in places.items()
        for place in found
    )


@dataclass(frozen=True, eq=False)
class AnomalyScores:
    """How unusual a model finds samples, and which ones are.

    Attributes:
        units: (n,) what is resampled together.
        truth: (n,) which samples are anomalies.
        raw: (n,) the model's scores; NaN is no answer.
        threshold: Score from which the model reports.
    """

    units: NDArray[np.int64]
    truth: NDArray[np.bool_]
    raw: NDArray[np.float64]
    threshold: float

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(n,) the scores; what is no number counts as a mistake, whichever it would be."""
        worst = np.where(self.truth, -np.inf, np.inf)
        return np.where(np.isnan(self.raw), worst, self.raw)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(-self.scores, kind="stable")

    def curve(self, weights: NDArray[np.float64] | None = None) -> Curve:
        """Return the counts at every threshold."""
        each = np.ones(len(self.truth)) if weights is None else weights
        order = self._order
        return _counted(self.scores[order], self.truth[order], each[order])

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return AUROC, AP and what the model's threshold does; see ``Scores``."""
        curve = self.curve(weights)
        point = curve.point("model", self.threshold)
        found = {"auroc": curve.auroc, "average_precision": curve.average_precision}
        if curve.positives:
            precision = math.nan if point.precision is None else point.precision
            found |= {"f1": point.f1, "precision": precision, "recall": point.recall}
        else:
            found |= dict.fromkeys(("f1", "precision", "recall"), math.nan)
        found["false_alarm_rate"] = point.false_alarm_rate if curve.negatives else math.nan
        return found


def _counted(
    scores: NDArray[np.float64], truth: NDArray[np.bool_], weights: NDArray[np.float64]
) -> Curve:
    """Return the curve of samples that are sorted by falling score."""
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    hits = np.cumsum(weights * truth)
    alarms = np.cumsum(weights * ~truth)
    positives, negatives = float(hits[-1]), float(alarms[-1])
    return Curve(scores[last], hits[last], alarms[last], positives, negatives)
