"""The charts of an evaluation: curves, confusion, reliability, scores, each as one SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.detection import RECALLS, DetectionScores
from edgehaul_tools.evaluate.detectors import pooled_curve
from edgehaul_tools.evaluate.examined import Examined
from edgehaul_tools.evaluate.figures import (
    COLORS,
    INK,
    MUTED,
    add_legend,
    draw_matrix,
    new_figure,
    to_svg,
)
from edgehaul_tools.evaluate.ranking import AnomalyScores, curve_of
from edgehaul_tools.evaluate.regression import RegressionScores
from edgehaul_tools.evaluate.result import Calibration, Confusion, ModelResult

Chart = tuple[str, str]
"""An SVG and what it shows."""
_STYLES = ("-", "--", ":", "-.", "-")
_MOST_CURVES = 5
_WIDTH_IN, _HEIGHT_IN = 4.6, 3.4


def charts_of(examined: Examined, result: ModelResult) -> list[Chart]:
    """Return the charts of one model."""
    scores = examined.scores
    charts: list[Chart] = []
    if isinstance(scores, DetectionScores):
        charts.append((_class_curves(scores), "Precision and recall at IoU 0.5, by class"))
        charts.append((_threshold_chart(scores), "What the score threshold does, all classes"))
    if isinstance(scores, AnomalyScores) and np.isfinite(scores.scores).any():
        charts.append((_anomaly_histogram(scores), "Scores and the model's threshold"))
    if isinstance(scores, ClassScores):
        charts.append((_confidence_histogram(scores), "How sure the model is, right and wrong"))
    if isinstance(scores, RegressionScores) and np.isfinite(scores.distance).any():
        charts.append((_error_histogram(scores), "Size of the error"))
    if result.confusion is not None:
        charts.append((_matrix(result.confusion), "What was true against what was found"))
    if result.calibration is not None:
        charts.append((_reliability(result.calibration), "Is it as often right as it says?"))
    return charts


def joint_charts(all_examined: Sequence[Examined]) -> list[Chart]:
    """Return the charts that show all models in one."""
    scores = [e.scores for e in all_examined]
    names = [e.candidate.name for e in all_examined]
    detectors = [s for s in scores if isinstance(s, DetectionScores)]
    anomalies = [s for s in scores if isinstance(s, AnomalyScores)]
    if detectors and len(detectors) > 1:
        return [
            (_mean_curves(detectors, names), "Precision and recall at IoU 0.5, mean of classes")
        ]
    if anomalies and len(np.unique(anomalies[0].truth)) > 1:
        return [
            (_roc(anomalies, names), "ROC: anomalies found against false alarms"),
            (_pr(anomalies, names), "Precision and recall of anomalies"),
        ]
    classifiers = [s for s in scores if isinstance(s, ClassScores)]
    if len(classifiers) == 1:
        return [
            (_one_against_rest(classifiers[0], all_examined[0]), "ROC, each class against the rest")
        ]
    return []


def _class_curves(scores: DetectionScores) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    figures = scores.figures(np.ones(len(scores.units)))
    order = sorted(range(len(scores.labels)), key=lambda c: -scores.matches[c].objects.sum())
    for place, class_id in enumerate(order[:_MOST_CURVES]):
        recall, precision = scores.curve(class_id)
        label = scores.labels[class_id]
        name = f"{label}  (AP50 {figures[f'ap50:{label}']:.3f})"
        axes.plot(recall, precision, _STYLES[place], color=COLORS[place], linewidth=2, label=name)
    return _finish_pr(axes, figure)


def _mean_curves(all_scores: Sequence[DetectionScores], names: Sequence[str]) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    for place, (scores, name) in enumerate(zip(all_scores[:_MOST_CURVES], names, strict=False)):
        rows = [
            _at_recalls(*scores.curve(c))
            for c, match in enumerate(scores.matches)
            if match.objects.any()
        ]
        mean = np.mean(rows, axis=0)
        axes.plot(RECALLS, mean, _STYLES[place], color=COLORS[place], linewidth=2, label=name)
    return _finish_pr(axes, figure)


def _at_recalls(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    result: NDArray[np.float64] = envelope[np.searchsorted(recall, RECALLS, side="left")]
    return result


def _finish_pr(axes: Axes, figure: object) -> str:
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.03))
    add_legend(axes)
    return to_svg(figure)  # type: ignore[arg-type]  # always a Figure


def _threshold_chart(scores: DetectionScores) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    curve = pooled_curve(scores)
    reported = curve.hits + curve.false_alarms
    f1 = 2 * curve.hits / np.maximum(reported + curve.positives, 1)
    for values, name, color in (
        (curve.precision, "Precision", COLORS[0]),
        (curve.recall, "Recall", COLORS[1]),
        (f1, "F1", COLORS[2]),
    ):
        axes.plot(curve.thresholds, values, color=color, linewidth=2, label=name)
    _mark_threshold(axes, scores.threshold)
    axes.set(xlabel="Score threshold", xlim=(0, 1.01), ylim=(0, 1.03))
    add_legend(axes)
    return to_svg(figure)


def _mark_threshold(axes: Axes, threshold: float) -> None:
    label = f"the model's, {threshold:.3g}"
    axes.axvline(threshold, color=INK, linewidth=1.2, linestyle="--", label=label)


def _anomaly_histogram(scores: AnomalyScores) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    finite = scores.scores[np.isfinite(scores.scores)]
    low = min(float(finite.min()), scores.threshold)
    high = max(float(np.quantile(finite, 0.995)), scores.threshold * 1.1, low + 1e-9)
    bins = np.linspace(low, high, 41).tolist()
    for kind, name, color in ((False, "normal", COLORS[0]), (True, "anomaly", COLORS[3])):
        values = np.clip(scores.scores[scores.truth == kind], bins[0], bins[-1])
        share = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(values, bins=bins, weights=share, color=color, alpha=0.6, label=name)
    _mark_threshold(axes, scores.threshold)
    axes.set(xlabel="Score", ylabel="Share of its kind")
    add_legend(axes)
    return to_svg(figure)


def _confidence_histogram(scores: ClassScores) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    bins = np.linspace(0, 1, 26).tolist()
    parts = [scores.confidence[scores.correct], scores.confidence[~scores.correct]]
    names = [
        f"{name} ({len(part):,})" for name, part in zip(("right", "wrong"), parts, strict=True)
    ]
    colors = [COLORS[2], COLORS[3]]
    axes.hist(parts, bins=bins, stacked=True, color=colors, alpha=0.85, label=names)
    if len(scores.true) > 200:  # noqa: PLR2004 - the few wrong ones would not be seen
        axes.set_yscale("log")
    axes.set(xlabel="Probability of the answer", ylabel="Samples")
    add_legend(axes)
    return to_svg(figure)


def _error_histogram(scores: RegressionScores) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    distance = scores.distance[np.isfinite(scores.distance)]
    high = float(np.quantile(distance, 0.99))
    axes.hist(np.minimum(distance, high), bins=50, color=COLORS[0], alpha=0.85)
    for share, color in ((0.5, INK), (0.95, COLORS[3])):
        value = float(np.quantile(distance, share))
        label = f"{share:.0%} are below {value:.3g}"
        axes.axvline(value, color=color, linestyle="--", linewidth=1.2, label=label)
    axes.set(xlabel="Length of the error", ylabel="Windows")
    add_legend(axes)
    return to_svg(figure)


def _matrix(confusion: Confusion) -> str:
    counts = np.array(confusion.counts, dtype=np.int64)
    return draw_matrix(counts, confusion.rows, confusion.columns)


def _reliability(calibration: Calibration) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1.2, label="perfect")
    total = sum(b.count for b in calibration.bins)
    sizes = [20 + 280 * b.count / total for b in calibration.bins]
    x = [b.confidence for b in calibration.bins]
    y = [b.accuracy for b in calibration.bins]
    axes.plot(x, y, color=COLORS[0], linewidth=1.5)
    axes.scatter(x, y, s=sizes, color=COLORS[0], alpha=0.7, label=f"ECE {calibration.ece:.3f}")
    axes.set(xlabel="Probability of the answer", ylabel="Share that is right")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.03))
    add_legend(axes)
    return to_svg(figure)


def _roc(all_scores: Sequence[AnomalyScores], names: Sequence[str]) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    for place, (scores, name) in enumerate(zip(all_scores[:_MOST_CURVES], names, strict=False)):
        curve = scores.curve()
        x, y = np.append(0.0, curve.false_alarm_rate), np.append(0.0, curve.recall)
        label = f"{name}  (AUROC {curve.auroc:.3f})"
        axes.plot(x, y, _STYLES[place], color=COLORS[place], linewidth=2, label=label)
    axes.set(xlabel="False alarm rate", ylabel="Recall", xlim=(0, 1.01), ylim=(0, 1.03))
    add_legend(axes)
    return to_svg(figure)


def _pr(all_scores: Sequence[AnomalyScores], names: Sequence[str]) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    for place, (scores, name) in enumerate(zip(all_scores[:_MOST_CURVES], names, strict=False)):
        curve = scores.curve()
        label = f"{name}  (AP {curve.average_precision:.3f})"
        style, color = _STYLES[place], COLORS[place]
        axes.step(
            curve.recall, curve.precision, style, where="post", color=color, lw=2, label=label
        )
    return _finish_pr(axes, figure)


def _one_against_rest(scores: ClassScores, examined: Examined) -> str:
    figure, axes = new_figure(_WIDTH_IN, _HEIGHT_IN)
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    rows = []
    for number, label in enumerate(examined.labels):
        values = np.nan_to_num(scores.probabilities[:, number], nan=-1.0)
        curve = curve_of(values, scores.true == number)
        if np.isfinite(curve.auroc):
            rows.append((curve.auroc, label, curve))
    rows.sort(key=lambda row: row[0])
    for place, (auroc, label, curve) in enumerate(rows[:_MOST_CURVES]):
        x, y = np.append(0.0, curve.false_alarm_rate), np.append(0.0, curve.recall)
        name = f"{label}  (AUROC {auroc:.3f})"
        axes.plot(x, y, _STYLES[place], color=COLORS[place], linewidth=2, label=name)
    axes.set(xlabel="False alarm rate", ylabel="Recall", xlim=(0, 1.01), ylim=(0, 1.03))
    title = f"the {_MOST_CURVES} weakest of {len(rows)}" if len(rows) > _MOST_CURVES else None
    add_legend(axes, title=title)
    return to_svg(figure)
