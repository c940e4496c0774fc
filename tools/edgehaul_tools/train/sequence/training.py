"""The training of models of traces and series: classes, next position, anomalies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import msgspec
from torch import nn

from edgehaul.bundle.spec import ModelSpec, OutputSpec
from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.errors import DatasetError
from edgehaul_tools.train.loop.checkpoint import training_digest
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import Progress, no_progress, seeded_torch
from edgehaul_tools.train.run_directory import Fitted, Started, TrainingRun, keep_run
from edgehaul_tools.train.sequence.deployed import RealUnits, sequence_network
from edgehaul_tools.train.sequence.moves import MOVE_LABELS, MoveSet, load_moves
from edgehaul_tools.train.sequence.tasks import (
    ClassifyTask,
    NextPositionTask,
    SurpriseTask,
    evaluate_windows,
)
from edgehaul_tools.train.sequence.windows import (
    Recording,
    WindowSet,
    check_any,
    load_surprises,
    load_windows,
    scaled_input,
    spans_of,
    with_features,
)

__all__ = ["evaluate_windows", "fit_sequence", "train_sequence"]


def train_sequence(
    recipe: SequenceRecipe,
    train: Sequence[Recording],
    val: Sequence[Recording],
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
) -> TrainingRun:
    """Train a model of windows and write its run directory.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: What is learnt from; for ``classify`` its anomalies' labels are the classes.
        val: What the reported accuracy is measured on; may be empty but for ``anomaly``,
            which chooses its threshold by it.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.

    Raises:
        DatasetError: There is nothing to learn.
        SpecMismatchError: The recipe names an unknown feature or channel.
        UsageError: ``out`` holds another training, or an unfinished one.
        ModelError: The training diverged.
    """
    started = Started()
    recipe = with_features(recipe, [*train, *val])
    spec, fitted, counts = _GOALS[recipe.goal](recipe, train, val, _Place(out, resume, progress))
    return keep_run(out, "sequence", spec, Recipe(sequence=recipe), fitted, counts, started)


class _Place(msgspec.Struct, frozen=True):
    """Where a training keeps its checkpoints, and whom it tells."""

    out: Path | None
    resume: bool
    progress: Progress


_Trained = tuple[ModelSpec, Fitted[nn.Module], dict[str, int]]


def _train_classes(
    recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording], place: _Place
) -> _Trained:
    labels = _labels(recipe, train)
    parts = [load_windows(part, recipe, labels) for part in (train, val)]
    check_any(len(parts[0]), recipe, train)
    _check_classes(parts[0], labels, recipe)
    output = OutputSpec(
        head="sequence",
        labels=labels,
        score_threshold=recipe.score_threshold,
        normal_label=recipe.normal_label,
    )
    spec = ModelSpec("sequence", scaled_input(recipe, parts[0].features), output)
    fitted = _fit_classes(recipe, spec, parts[0], parts[1], place)
    return spec, fitted, _counts(parts)


def _labels(recipe: SequenceRecipe, recordings: Sequence[Recording]) -> tuple[str, ...]:
    found = {span.label for one in recordings for span in spans_of(one)} - {recipe.normal_label}
    normal = (recipe.normal_label,) if recipe.normal_label else ()
    return (*normal, *sorted(found))


def _check_classes(windows: WindowSet, labels: tuple[str, ...], recipe: SequenceRecipe) -> None:
    """Refuse what a classifier cannot learn from: one class alone, or classes without windows."""
    if len(labels) < 2 or not (windows.classes > 0).any():  # noqa: PLR2004 - one is no choice
        raise DatasetError(
            f"no recording of the training part is {recipe.window} steps long and shows an "
            f"anomaly: there is one class alone ({', '.join(labels) or 'none'})",
            remedy="label anomalies, or choose a shorter window; or set goal to 'anomaly', which "
            "learns from normal recordings",
        )
    missing = [label for at, label in enumerate(labels) if not (windows.classes == at).any()]
    if missing:
        raise DatasetError(
            f"no window of the training part shows {', '.join(missing)}",
            remedy="add recordings of it or remove its label; or choose a shorter window, a "
            "smaller overlap_s or, where nothing is normal, `normal_label: ''`",
        )


def fit_sequence(
    recipe: SequenceRecipe,
    spec: ModelSpec,
    train: WindowSet,
    val: WindowSet,
    progress: Progress = no_progress,
) -> Fitted[nn.Module]:
    """Train a classifier on windows and write nothing; see ``train_sequence``."""
    place = _Place(None, resume=False, progress=progress)
    return _fit_classes(recipe, spec, train, val, place)


def _fit_classes(
    recipe: SequenceRecipe, spec: ModelSpec, train: WindowSet, val: WindowSet, place: _Place
) -> Fitted[nn.Module]:
    task = ClassifyTask(_seeded(recipe, spec), recipe, spec, train, val)
    return fit(task, _plan(recipe, place, train, val), place.progress)


def _train_moves(
    recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording], place: _Place
) -> _Trained:
    parts = [load_moves(part, recipe) for part in (train, val)]
    check_any(len(parts[0]), recipe, train)
    output = OutputSpec(head="regress", labels=MOVE_LABELS, horizon_s=recipe.horizon_s)
    spec = ModelSpec("sequence", scaled_input(recipe, parts[0].features), output)
    network = _seeded(recipe, spec)
    assert isinstance(network, RealUnits)  # noqa: S101 - as sequence_network promises
    task = NextPositionTask(network, recipe, spec, *parts)
    fitted = fit(task, _plan(recipe, place, *parts), place.progress)
    return spec, fitted, _counts(parts)


def _train_surprises(
    recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording], place: _Place
) -> _Trained:
    parts = [load_surprises(part, recipe) for part in (train, val)]
    for name, part, windows in zip(("training", "validation"), (train, val), parts, strict=True):
        check_any(len(windows), recipe, part)
        if not (windows.classes == 0).any():
            raise DatasetError(
                f"every window of the {name} part holds an event",
                remedy="add normal recordings, or choose a shorter window",
            )
    normal = parts[0].features[parts[0].classes == 0]
    output = OutputSpec(head="anomaly", normal_label=recipe.normal_label)
    spec = ModelSpec("sequence", scaled_input(recipe, normal), output)
    task = SurpriseTask(_seeded(recipe, spec), recipe, spec, *parts)
    fitted = fit(task, _plan(recipe, place, *parts), place.progress)
    threshold = fitted.metrics["threshold"]
    output = msgspec.structs.replace(output, score_threshold=threshold)
    return msgspec.structs.replace(spec, output=output), fitted, _counts(parts)


def _seeded(recipe: SequenceRecipe, spec: ModelSpec) -> nn.Module:
    with seeded_torch(recipe.seed, recipe.threads):
        return sequence_network(recipe, spec)


def _plan(
    recipe: SequenceRecipe, place: _Place, train: WindowSet | MoveSet, val: WindowSet | MoveSet
) -> Plan:
    return Plan(
        optimizer=recipe.optimizer,
        seed=recipe.seed,
        threads=recipe.threads,
        precision=recipe.precision,
        folder=place.out,
        digest=training_digest(recipe, *_bytes(train), *_bytes(val)),
        resume=place.resume,
    )


def _bytes(windows: WindowSet | MoveSet) -> Iterator[bytes]:
    for field in fields(windows):
        yield getattr(windows, field.name).tobytes()


def _counts(parts: Sequence[WindowSet | MoveSet]) -> dict[str, int]:
    return {name: len(part) for name, part in zip(("train", "val"), parts, strict=True)}


_Trainer = Callable[[SequenceRecipe, Sequence[Recording], Sequence[Recording], _Place], _Trained]
_GOALS: dict[str, _Trainer] = {
    "classify": _train_classes,
    "next_position": _train_moves,
    "anomaly": _train_surprises,
}
