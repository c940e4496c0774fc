"""Recordings cut into windows, and a model's answers on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import SpecMismatchError
from edgehaul.motion.windows import to_tensor
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.train.sequence.windows import (
    Recording,
    WindowSet,
    check_any,
    cut_windows,
    unscaled_input,
)

FEWEST_RECORDINGS = 5
"""With fewer recordings stretches of them are resampled, else whole recordings."""
_STRETCHES = 20


@dataclass(frozen=True, eq=False)
class Cut:
    """The windows of all recordings.

    Attributes:
        features: (n, window, F) in their own units.
        classes: (n,) with ``UNDECIDED`` among them.
        ended_at_s: (n,) times of the last steps.
        recording: (n,) index of the recording.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    ended_at_s: NDArray[np.float64]
    recording: NDArray[np.int64]


def stretches(recording: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], str]:
    """Return what is resampled together, and what that is.

    Args:
        recording: (n,) which recording each window is from.
        count: Number of recordings.
    """
    if count >= FEWEST_RECORDINGS:
        return recording, "recording"
    units = np.empty(len(recording), dtype=np.int64)
    for number in range(count):
        places = np.flatnonzero(recording == number)
        units[places] = number * _STRETCHES + np.arange(len(places)) * _STRETCHES // max(
            1, len(places)
        )
    return np.unique(units, return_inverse=True)[1].astype(np.int64), "stretch"


def recipe_of(candidate: Candidate) -> SequenceRecipe:
    """Return the recipe that says when a window has which label; without one the usual one."""
    if candidate.recipe is not None and candidate.recipe.sequence is not None:
        recipe, canvas = candidate.recipe.sequence, canvas_of(candidate)
        return _like(canvas, recipe.decision_s, recipe.overlap_s, candidate, recipe.normal_label)
    canvas, usual = canvas_of(candidate), SequenceRecipe()
    span_s = canvas.window * canvas.interval_s
    decision_s = max(min(usual.decision_s, span_s), canvas.interval_s)
    normal = candidate.spec.output.normal_label or usual.normal_label
    return _like(canvas, decision_s, min(usual.overlap_s, decision_s), candidate, normal)


def _like(
    canvas: SequenceInput, decision_s: float, overlap_s: float, candidate: Candidate, normal: str
) -> SequenceRecipe:
    return SequenceRecipe(
        features=canvas.features,
        window=canvas.window,
        interval_s=canvas.interval_s,
        filter=canvas.filter,
        hop=1,
        normal_label=normal,
        decision_s=decision_s,
        overlap_s=overlap_s,
        horizon_s=candidate.spec.output.horizon_s or SequenceRecipe().horizon_s,
    )


def canvas_of(candidate: Candidate) -> SequenceInput:
    """Return what a model of recordings takes.

    Raises:
        SpecMismatchError: It takes pictures.
    """
    if not isinstance(candidate.spec.input, SequenceInput):
        raise SpecMismatchError(
            "this model takes pictures, and these are recordings", where=candidate.path
        )
    return candidate.spec.input


def cut_all(
    recordings: Sequence[Recording],
    recipe: SequenceRecipe,
    load: Callable[[Sequence[Recording]], WindowSet],
) -> Cut:
    """Return the windows of all recordings.

    Args:
        recordings: Trips or series.
        recipe: Says what a window is.
        load: Cuts one recording and gives the windows their classes.

    Raises:
        DatasetError: There is no window.
    """
    features, classes, ended_at_s, numbers = [], [], [], []
    for number, recording in enumerate(recordings):
        windows = load([recording])
        features.append(windows.features)
        classes.append(windows.classes)
        ended_at_s.append(cut_windows(recording, unscaled_input(recipe)).ended_at_s)
        numbers.append(np.full(len(classes[-1]), number, dtype=np.int64))
    check_any(sum(map(len, classes)), recipe, recordings)
    return Cut(
        np.concatenate(features),
        np.concatenate(classes),
        np.concatenate(ended_at_s),
        np.concatenate(numbers),
    )


def run_windows(
    candidate: Candidate,
    features: NDArray[np.float32],
    answer: Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Return what a model answers to windows (n, window, F) in their own units, one by one."""
    canvas = canvas_of(candidate)
    rows = [answer(candidate.run(to_tensor(window, canvas))) for window in features]
    return np.array(rows).reshape(len(features), -1)
