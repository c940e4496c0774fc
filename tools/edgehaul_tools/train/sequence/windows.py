"""Labelled windows of traces, cut by the very code that cuts them on the box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.motion.windows import Window, windows_of
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace

UNDECIDED = -1
"""Class of windows in which an anomaly has just begun or ended: no answer is wrong."""
_LEAST_STD = 1e-3


@dataclass(frozen=True)
class WindowSet:
    """Windows and their labels.

    Attributes:
        features: (n, window, F) float32, in the features' own units.
        classes: (n,) int64, ``UNDECIDED`` among them.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def load_windows(
    traces: Sequence[LabelledTrace], recipe: SequenceRecipe, labels: tuple[str, ...]
) -> WindowSet:
    """Return all windows of all traces, each step starting one.

    Args:
        traces: Trips with their anomalies.
        recipe: Says what a window is and when an anomaly gives it its label.
        labels: The classes; the first is the normal one.
    """
    spec = unscaled_input(recipe)
    features, classes = [], []
    for trace in traces:
        for window in windows_of(trace.fixes, spec):
            features.append(window.features)
            classes.append(_class_of(window, trace.anomalies, recipe, labels))
    shape = (-1, recipe.window, len(recipe.features))
    return WindowSet(
        np.array(features, dtype=np.float32).reshape(shape), np.array(classes, dtype=np.int64)
    )


def unscaled_input(recipe: SequenceRecipe) -> SequenceInput:
    """Return the model's input without normalisation, and with every window."""
    count = len(recipe.features)
    return SequenceInput(
        features=recipe.features,
        window=recipe.window,
        interval_s=recipe.interval_s,
        mean=(0.0,) * count,
        std=(1.0,) * count,
        hop=1,
        name="window",
    )


def scaled_input(recipe: SequenceRecipe, windows: WindowSet) -> SequenceInput:
    """Return the model's input, normalised by the mean and deviation of ``windows``."""
    values = windows.features.reshape(-1, len(recipe.features)).astype(np.float64)
    std = np.maximum(values.std(axis=0), _LEAST_STD)
    return msgspec.structs.replace(
        unscaled_input(recipe),
        mean=tuple(round(float(v), 6) for v in values.mean(axis=0)),
        std=tuple(round(float(v), 6) for v in std),
        hop=recipe.hop,
    )


def _class_of(
    window: Window,
    anomalies: tuple[AnomalySpan, ...],
    recipe: SequenceRecipe,
    labels: tuple[str, ...],
) -> int:
    """Return the class of one window: that of the anomaly that fills most of its end."""
    since_s = window.ended_at_s - recipe.decision_s
    best, longest_s = 0, 0.0
    for anomaly in anomalies:
        span_s = min(window.ended_at_s, anomaly.ended_at_s) - max(since_s, anomaly.started_at_s)
        if span_s > longest_s and anomaly.label in labels:
            enough_s = min(recipe.overlap_s, anomaly.ended_at_s - anomaly.started_at_s)
            best = labels.index(anomaly.label) if span_s >= enough_s else UNDECIDED
            longest_s = span_s
    return best
