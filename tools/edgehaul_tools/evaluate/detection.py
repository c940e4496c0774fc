"""Figures of detectors, quick enough to be computed again for every resample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.evaluate.matching import IOUS, ClassMatches

RECALLS = np.linspace(0.0, 1.0, 101)
"""Precision is averaged at 101 recalls, as COCO does."""
_IOU_50 = 0


@dataclass(frozen=True, eq=False)
class DetectionScores:
    """What a detector found.

    A resample needs no new matching: a picture drawn twice counts its detections twice, at the
    same place of the ranking.

    Attributes:
        units: (pictures,) what is resampled together.
        labels: Names of the classes.
        matches: Of each class.
        threshold: Score from which the model reports.
    """

    units: NDArray[np.int64]
    labels: tuple[str, ...]
    matches: tuple[ClassMatches, ...]
    threshold: float

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return mAP50, mAP50-95, and what the model's threshold does; see ``Scores``.

        ``ap50:LABEL`` are of one class; NaN where it has no object.
        """
        by_class = np.array([average_precisions(m, weights) for m in self.matches])
        by_class = by_class.reshape(-1, len(IOUS))
        occurs = ~np.isnan(by_class[:, _IOU_50])
        hits, wrong, objects = (sum(v) for v in zip(*self._counts(weights), strict=True))
        reported = hits + wrong
        return {
            "map50": float(by_class[occurs, _IOU_50].mean()) if occurs.any() else math.nan,
            "map50_95": float(by_class[occurs].mean()) if occurs.any() else math.nan,
            "precision": hits / reported if reported else math.nan,
            "recall": hits / objects if objects else math.nan,
            "f1": 2 * hits / (reported + objects) if objects else math.nan,
            **{
                f"ap50:{label}": float(value)
                for label, value in zip(self.labels, by_class[:, _IOU_50], strict=True)
            },
        }

    def operating(self, class_id: int) -> tuple[float, float, float]:
        """Return precision, recall and F1 of a class at the model's threshold, IoU 0.5."""
        weights = np.ones(len(self.units))
        hits, wrong, objects = self._counts(weights)[class_id]
        return (
            hits / (hits + wrong) if hits + wrong else math.nan,
            hits / objects if objects else math.nan,
            2 * hits / (hits + wrong + objects) if hits + wrong + objects else math.nan,
        )

    def curve(self, class_id: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return recall and precision of a class at IoU 0.5, from the highest score down."""
        match = self.matches[class_id]
        counted = match.counted[_IOU_50]
        hits = np.cumsum(match.hit[_IOU_50][counted])
        return hits / max(1.0, match.objects.sum()), hits / np.arange(1, len(hits) + 1)

    def _counts(self, weights: NDArray[np.float64]) -> list[tuple[float, float, float]]:
        """Return hits, false detections and objects of each class at the model's threshold."""
        rows = []
        for match in self.matches:
            each = weights[match.picture] * (match.scores >= self.threshold)
            hit, counted = match.hit[_IOU_50], match.counted[_IOU_50]
            hits, wrong = (each @ (hit & counted)), (each @ (~hit & counted))
            rows.append((float(hits), float(wrong), float(weights @ match.objects)))
        return rows


@dataclass(frozen=True, eq=False)
class Ap50Scores:
    """What a detector found, for the figures at IoU 0.5 alone: ten times as quick to resample.

    Attributes:
        scores: All that it found.
    """

    scores: DetectionScores

    @property
    def units(self) -> NDArray[np.int64]:
        """(pictures,) what is resampled together."""
        return self.scores.units

    def figures(self, weights: NDArray[np.float64]) -> dict[str, float]:
        """Return ``map50`` and ``ap50:LABEL`` as :class:`DetectionScores` does."""
        found = [float(average_precisions(match, weights)[0]) for match in self._matches]
        by_class = dict(zip(self.scores.labels, found, strict=True))
        occur = [value for value in by_class.values() if not math.isnan(value)]
        mean = sum(occur) / len(occur) if occur else math.nan
        return {"map50": mean} | {f"ap50:{label}": value for label, value in by_class.items()}

    @cached_property
    def _matches(self) -> list[ClassMatches]:
        return [_at_iou_50(match) for match in self.scores.matches]


def _at_iou_50(match: ClassMatches) -> ClassMatches:
    """Return the detections that count at IoU 0.5, with what they find there."""
    counted = match.counted[_IOU_50]
    return ClassMatches(
        scores=match.scores[counted],
        picture=match.picture[counted],
        hit=match.hit[_IOU_50 : _IOU_50 + 1, counted],
        counted=match.counted[_IOU_50 : _IOU_50 + 1, counted],
        objects=match.objects,
    )


def average_precisions(match: ClassMatches, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the average precision of a class at each overlap; NaN without objects.

    Args:
        match: Its detections.
        weights: (pictures,) how often each picture counts.

    Source: pycocotools ``COCOeval.accumulate``.
    """
    objects = float(weights @ match.objects)
    if not objects:
        return np.full(len(match.hit), math.nan)
    each = weights[match.picture]
    drawn = each > 0
    counts = each[drawn] * match.counted[:, drawn]
    hits = np.cumsum(counts * match.hit[:, drawn], axis=1)
    precision = hits / np.maximum(np.cumsum(counts, axis=1), 1.0)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.hstack([envelope, np.zeros((len(match.hit), 1))])
    recall = hits / objects
    wanted = [np.searchsorted(row, RECALLS, side="left") for row in recall]
    result: NDArray[np.float64] = np.take_along_axis(padded, np.array(wanted), axis=1).mean(axis=1)
    return result
