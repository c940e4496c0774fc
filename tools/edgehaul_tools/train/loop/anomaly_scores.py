"""What any anomaly detector is judged by: how well its scores tell apart, and the threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError


def alarm_threshold(normal_scores: NDArray[np.floating], false_alarms: float) -> float:
    """Return the score from which at most ``false_alarms`` of the normal samples are reported.

    Args:
        normal_scores: (n,) scores of normal samples that were not learnt from.
        false_alarms: Share that may be reported, in 0..1.

    Raises:
        DatasetError: There is no normal sample.
    """
    if not len(normal_scores):
        raise DatasetError(
            "the validation part holds no normal sample to choose the threshold by",
            remedy="add normal ones, or raise split.val",
        )
    # Just above the quantile: what is as surprising as that normal sample is no alarm yet.
    threshold = float(np.quantile(normal_scores, 1 - false_alarms, method="higher"))
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))


def anomaly_metrics(
    scores: NDArray[np.floating], is_anomaly: NDArray[np.bool_], threshold: float
) -> dict[str, float]:
    """Return how well scores tell anomalies from normal samples.

    Args:
        scores: (n,), larger is more anomalous.
        is_anomaly: (n,) the truth.
        threshold: Score from which a sample is reported.

    Returns:
        ``false_alarm_rate`` where there are normal samples; ``recall`` where there are
        anomalies; with both also ``auroc`` and ``average_precision``.
    """
    # Its import takes a second, which only the trainings that need it shall pay.
    from sklearn.metrics import (  # type: ignore[import-untyped]  # noqa: PLC0415 - untyped; see above
        average_precision_score,
        roc_auc_score,
    )

    metrics: dict[str, float] = {}
    reported = scores >= threshold
    if is_anomaly.any() and not is_anomaly.all():
        metrics["auroc"] = float(roc_auc_score(is_anomaly, scores))
        metrics["average_precision"] = float(average_precision_score(is_anomaly, scores))
    if is_anomaly.any():
        metrics["recall"] = float(reported[is_anomaly].mean())
    if not is_anomaly.all():
        metrics["false_alarm_rate"] = float(reported[~is_anomaly].mean())
    return metrics
