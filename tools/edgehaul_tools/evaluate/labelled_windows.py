"""What is true of the windows of recordings, for models that answer window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.motion.windows import to_tensor
from edgehaul.vision.verdicts import anomaly_score, named_values
from edgehaul_tools.evaluate.bootstrap import Scores
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.classifiers import probabilities_of
from edgehaul_tools.evaluate.ground_truth import (
    Answer,
    ByClass,
    ByKind,
    GroundTruth,
    counted,
    rows_of,
)
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.evaluate.regression import RegressionScores
from edgehaul_tools.evaluate.windowed import Cut, canvas_of, cut_all, recipe_of, stretches
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.train.sequence.moves import MOVE_LABELS, load_moves
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    Recording,
    check_any,
    load_surprises,
    load_windows,
)


@dataclass(frozen=True, eq=False)
class DecidedWindows:
    """All windows of recordings, and which of them have an answer that is right.

    Attributes:
        recipe: By which they were cut.
        cut: The windows.
        decided: (n,) which have a class.
        units: (n,) what is resampled together.
        unit: What that is, as one word.
    """

    recipe: SequenceRecipe
    cut: Cut
    decided: NDArray[np.bool_]
    units: NDArray[np.int64]
    unit: str


@dataclass(frozen=True, eq=False)
class MovedWindows:
    """Windows after which it is known where the vehicle is.

    Attributes:
        features: (n, window, F) in their own units.
        moves_m: (n, 2) where it is.
        straight_m: (n, 2) where it would be if it drove straight on.
        recording: (n,) index of the recording.
        units: (n,) what is resampled together.
        unit: What that is, as one word.
    """

    features: NDArray[np.float32]
    moves_m: NDArray[np.float64]
    straight_m: NDArray[np.float64]
    recording: NDArray[np.int64]
    units: NDArray[np.int64]
    unit: str


def class_windows(candidate: Candidate, recordings: Sequence[Recording]) -> DecidedWindows:
    """Return the windows with their classes, by the model's labels.

    Raises:
        DatasetError: No window has a class that the model knows.
    """
    recipe, labels = recipe_of(candidate), candidate.spec.output.labels
    cut = cut_all(recordings, recipe, partial(load_windows, recipe=recipe, labels=labels))
    return _decided(cut, recipe, len(recordings), "has a class that the model knows")


def surprise_windows(candidate: Candidate, recordings: Sequence[Recording]) -> DecidedWindows:
    """Return the windows with class 0 where nothing happens, and 1 where something does.

    Raises:
        DatasetError: No window is either.
    """
    recipe = recipe_of(candidate)
    cut = cut_all(recordings, recipe, partial(load_surprises, recipe=recipe))
    return _decided(cut, recipe, len(recordings), "is either normal or not")


def moved_windows(candidate: Candidate, recordings: Sequence[Recording]) -> MovedWindows:
    """Return the windows with where the vehicle went.

    Raises:
        DatasetError: There is no window, or these are series, which have no positions.
        SpecMismatchError: The model answers with other values.
    """
    labels = candidate.spec.output.labels
    if labels != MOVE_LABELS:
        raise SpecMismatchError(
            f"the model answers with {', '.join(labels)}, of which the recordings do not tell "
            "the truth",
            where=candidate.path,
            remedy=f"only {', '.join(MOVE_LABELS)} can be measured (goal 'next_position')",
        )
    recipe = recipe_of(candidate)
    sets = [load_moves([recording], recipe) for recording in recordings]
    check_any(sum(map(len, sets)), recipe, recordings)
    number = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    units, unit = stretches(number, len(recordings))
    return MovedWindows(
        features=np.concatenate([one.features for one in sets]),
        moves_m=np.concatenate([one.moves_m for one in sets]).astype(np.float64),
        straight_m=np.concatenate([one.constant_velocity_m for one in sets]).astype(np.float64),
        recording=number,
        units=units,
        unit=unit,
    )


def normal_class(recipe: SequenceRecipe, labels: Sequence[str]) -> int:
    """Return the number of the class that is no event; -1 where every class is one."""
    return labels.index(recipe.normal_label) if recipe.normal_label in labels else -1


def main_of_classes(normal: int) -> str:
    """Return the figure that classifiers of windows are judged by."""
    return "event_f1" if normal >= 0 else "macro_f1"


def move_answer(outputs: Sequence[NDArray[np.float32]], spec: ModelSpec) -> NDArray[np.float64]:
    """Return the values (K,) that a model answers with."""
    named = named_values(outputs, spec)
    return np.array([named[label] for label in spec.output.labels])


def window_truth(candidate: Candidate, recordings: Sequence[Recording]) -> GroundTruth:
    """Return what is true of recordings, for models that answer as this one does.

    Args:
        candidate: One of them; its head says what is asked.
        recordings: Trips or series.

    Raises:
        DatasetError: No recording holds a window, or nothing can be measured by.
        SpecMismatchError: The model is none for these recordings.
    """
    canvas = canvas_of(candidate)
    head = candidate.spec.output.head
    if head == "regress":
        return _move_truth(candidate, canvas, recordings)
    if head == "sequence":
        return _class_truth(candidate, canvas, recordings)
    return _surprise_truth(candidate, canvas, recordings)


def _class_truth(
    candidate: Candidate, canvas: SequenceInput, recordings: Sequence[Recording]
) -> GroundTruth:
    windows, labels = class_windows(candidate, recordings), candidate.spec.output.labels
    units, true = windows.units[windows.decided], windows.cut.classes[windows.decided]
    normal = normal_class(windows.recipe, labels)

    def score(answers: Sequence[Answer]) -> ByClass:
        return ByClass(ClassScores(units, true, rows_of(answers), normal), labels, "f1")

    return GroundTruth(
        main=main_of_classes(normal),
        class_figure="f1",
        unit=windows.unit,
        samples_of=counted(true, labels),
        inputs=_Windows(windows.cut.features[windows.decided], canvas),
        answer=lambda outputs, _item: probabilities_of(outputs, candidate),
        score=score,
    )


def _surprise_truth(
    candidate: Candidate, canvas: SequenceInput, recordings: Sequence[Recording]
) -> GroundTruth:
    windows, spec = surprise_windows(candidate, recordings), candidate.spec
    units, true = windows.units[windows.decided], windows.cut.classes[windows.decided]

    def score(answers: Sequence[Answer]) -> ByKind:
        raw = rows_of(answers)[:, 0]
        return ByKind(AnomalyScores(units, true == 1, raw, spec.output.score_threshold))

    return GroundTruth(
        main="auroc",
        class_figure="recall",
        unit=windows.unit,
        samples_of=counted(true, ("normal", "anomaly")),
        inputs=_Windows(windows.cut.features[windows.decided], canvas),
        answer=lambda outputs, item: np.array([anomaly_score(outputs, item.tensor, spec)]),
        score=score,
    )


def _move_truth(
    candidate: Candidate, canvas: SequenceInput, recordings: Sequence[Recording]
) -> GroundTruth:
    windows, spec = moved_windows(candidate, recordings), candidate.spec
    labels = spec.output.labels

    def score(answers: Sequence[Answer]) -> Scores:
        return RegressionScores(windows.units, labels, windows.moves_m, rows_of(answers))

    return GroundTruth(
        main="mae",
        class_figure="mae",
        unit=windows.unit,
        samples_of=dict.fromkeys(labels, len(windows.moves_m)),
        inputs=_Windows(windows.features, canvas),
        answer=lambda outputs, _item: move_answer(outputs, spec),
        score=score,
    )


@dataclass(frozen=True, eq=False)
class _Windows:
    """Windows (n, window, F) in their own units, as a model's inputs."""

    features: NDArray[np.float32]
    canvas: SequenceInput

    def __iter__(self) -> Iterator[Prepared]:
        return (Prepared(to_tensor(window, self.canvas)) for window in self.features)


def _decided(cut: Cut, recipe: SequenceRecipe, recordings: int, wanted: str) -> DecidedWindows:
    decided = cut.classes != UNDECIDED
    if not decided.any():
        raise DatasetError(f"no window of these recordings {wanted}")
    units, unit = stretches(cut.recording, recordings)
    return DecidedWindows(recipe, cut, decided, units, unit)
