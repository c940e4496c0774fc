"""Labelled windows of traces and series, cut by the very code that cuts them on the box."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.motion.features import FEATURES
from edgehaul.motion.windows import windows_of
from edgehaul_tools.dataset.series import Series, windows_of_series
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace

Recording = LabelledTrace | Series
"""What windows are cut from: a vehicle's trip, or a series of any channels."""

UNDECIDED = -1
"""Class of windows in which an anomaly has just begun or ended: no answer is wrong."""
_LEAST_STD = 1e-6
"""What varies less is constant but for rounding, and is not scaled up."""


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


@dataclass(frozen=True)
class CutWindows:
    """All windows of one recording, each step starting one.

    Attributes:
        features: (n, window, F) float32, in the features' own units.
        started_at_s: (n,) times of the first steps.
        ended_at_s: (n,) times of the last steps.
    """

    features: NDArray[np.float32]
    started_at_s: NDArray[np.float64]
    ended_at_s: NDArray[np.float64]


def with_features(recipe: SequenceRecipe, recordings: Sequence[Recording]) -> SequenceRecipe:
    """Return the recipe with the names of all features where it asks for all of them.

    Raises:
        SpecMismatchError: It names a channel that a series does not have.
    """
    known = tuple(FEATURES)
    for recording in recordings:
        if isinstance(recording, Series):
            known = recording.channels
            _check_channels(recipe.features, recording)
    return recipe if recipe.features else msgspec.structs.replace(recipe, features=known)


def _check_channels(names: Sequence[str], series: Series) -> None:
    for name in names:
        if name not in series.channels:
            nearest = difflib.get_close_matches(name, series.channels, n=1)
            meant = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise SpecMismatchError(
                f"there is no channel {name!r}",
                where=series.name,
                remedy=f"{meant}Known are: {', '.join(series.channels)}; `features: []` takes all",
            )


def _check_unfiltered(spec: SequenceInput, series: Series) -> None:
    if spec.filter != "none":
        raise SpecMismatchError(
            f"filter {spec.filter!r} passes over the fixes of a trace, and a series has none",
            where=series.name,
            remedy="set `filter: none`",
        )


def cut_windows(recording: Recording, spec: SequenceInput) -> CutWindows:
    """Return all windows of a trip or a series.

    Raises:
        SpecMismatchError: The spec names an unknown feature or channel, or filters the fixes
            of a series, which has none.
    """
    shape = (-1, spec.window, len(spec.features))
    if isinstance(recording, Series):
        _check_channels(spec.features, recording)
        _check_unfiltered(spec, recording)
        chosen = [recording.channels.index(name) for name in spec.features]
        started_at_s, features = windows_of_series(recording, spec.interval_s, spec.window)
        ended_at_s = started_at_s + (spec.window - 1) * spec.interval_s
        return CutWindows(features[..., chosen], started_at_s, ended_at_s)
    windows = windows_of(recording.fixes, spec)
    return CutWindows(
        np.array([w.features for w in windows], dtype=np.float32).reshape(shape),
        np.array([w.started_at_s for w in windows], dtype=np.float64),
        np.array([w.ended_at_s for w in windows], dtype=np.float64),
    )


def load_windows(
    recordings: Sequence[Recording], recipe: SequenceRecipe, labels: tuple[str, ...]
) -> WindowSet:
    """Return all windows of all recordings with their classes.

    Args:
        recordings: Trips or series with their anomalies.
        recipe: Says what a window is and when an anomaly gives it its label.
        labels: The classes; where the first is the normal one, it is that of windows without
            an event, which otherwise are ``UNDECIDED``.
    """
    without = 0 if labels[:1] == (recipe.normal_label,) else UNDECIDED
    sets = []
    for recording in recordings:
        cut = cut_windows(recording, unscaled_input(recipe))
        spans = spans_of(recording)
        classes = [_class_of(end, spans, recipe, labels, without) for end in cut.ended_at_s]
        sets.append(WindowSet(cut.features, np.array(classes, dtype=np.int64)))
    return _joined(sets, recipe)


def load_surprises(recordings: Sequence[Recording], recipe: SequenceRecipe) -> WindowSet:
    """Return all windows: class 0 where nothing happens at all, 1 where an event decides.

    Windows with a part of an event that is too short or too long ago to decide, by the
    recipe's ``decision_s`` and ``overlap_s``, are ``UNDECIDED``: neither answer is wrong.
    """
    sets = []
    for recording in recordings:
        cut = cut_windows(recording, unscaled_input(recipe))
        spans = [s for s in spans_of(recording) if s.label != recipe.normal_label]
        labels = (recipe.normal_label, *sorted({span.label for span in spans}))
        classes = np.zeros(len(cut.features), dtype=np.int64)
        for span in spans:
            touched = (cut.started_at_s <= span.ended_at_s) & (cut.ended_at_s >= span.started_at_s)
            classes[touched] = UNDECIDED
        for index in np.flatnonzero(classes == UNDECIDED):
            decided = _class_of(cut.ended_at_s[index], tuple(spans), recipe, labels, 0)
            classes[index] = 1 if decided > 0 else UNDECIDED
        sets.append(WindowSet(cut.features, classes))
    return _joined(sets, recipe)


def spans_of(recording: Recording) -> tuple[AnomalySpan, ...]:
    """Return what happened in a trip or a series, by time."""
    return recording.spans if isinstance(recording, Series) else recording.anomalies


def _joined(sets: Sequence[WindowSet], recipe: SequenceRecipe) -> WindowSet:
    if not sets:
        empty = np.empty((0, recipe.window, len(recipe.features)), dtype=np.float32)
        return WindowSet(empty, np.empty(0, dtype=np.int64))
    return WindowSet(
        np.concatenate([one.features for one in sets]),
        np.concatenate([one.classes for one in sets]),
    )


def check_any(count: int, recipe: SequenceRecipe, recordings: Sequence[Recording]) -> None:
    """Refuse recordings of which none is as long as one window.

    Raises:
        DatasetError: There is no window.
    """
    if count == 0:
        span_s = (recipe.window - 1) * recipe.interval_s
        raise DatasetError(
            f"none of {len(recordings)} recordings holds a window: {recipe.window} steps of "
            f"{recipe.interval_s:g} s ({span_s:g} s) without an outage or a missing value",
            remedy="lower window or interval_s, or mend the recordings",
        )


def unscaled_input(recipe: SequenceRecipe) -> SequenceInput:
    """Return the model's input without normalisation, and with every window."""
    count = len(recipe.features)
    return SequenceInput(
        features=recipe.features,
        window=recipe.window,
        interval_s=recipe.interval_s,
        filter=recipe.filter,
        mean=(0.0,) * count,
        std=(1.0,) * count,
        hop=1,
        name="window",
    )


def scaled_input(recipe: SequenceRecipe, features: NDArray[np.float32]) -> SequenceInput:
    """Return the model's input, normalised by the mean and deviation of these windows.

    Args:
        recipe: Names the features.
        features: (n, window, F) in their own units.
    """
    values = features.reshape(-1, len(recipe.features)).astype(np.float64)
    std = values.std(axis=0)
    std = np.where(std > _LEAST_STD, std, 1.0)
    return msgspec.structs.replace(
        unscaled_input(recipe),
        mean=tuple(float(f"{v:.7g}") for v in values.mean(axis=0)),
        std=tuple(float(f"{v:.7g}") for v in std),
        hop=recipe.hop,
    )


def _class_of(
    ended_at_s: float,
    spans: tuple[AnomalySpan, ...],
    recipe: SequenceRecipe,
    labels: tuple[str, ...],
    without: int,
) -> int:
    """Return the class of one window: that of the anomaly that fills most of its end."""
    since_s = ended_at_s - recipe.decision_s
    best, longest_s = without, 0.0
    for span in spans:
        span_s = min(ended_at_s, span.ended_at_s) - max(since_s, span.started_at_s)
        if span_s > longest_s:
            # A label that was never learnt is neither normal nor anything else.
            enough_s = min(recipe.overlap_s, span.ended_at_s - span.started_at_s)
            known = span.label in labels and span_s >= enough_s
            best = labels.index(span.label) if known else UNDECIDED
            longest_s = span_s
    return best
