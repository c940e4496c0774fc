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
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import as_digested, training_digest
from edgehaul_tools.train.loop.fit import Plan
from edgehaul_tools.train.loop.optimization import (
    Progress,
    no_progress,
    require_measured,
    seeded_torch,
)
from edgehaul_tools.train.run_directory import Fitted, Started, TrainingRun, keep_run
from edgehaul_tools.train.sequence.deployed import Bounded, RealUnits, sequence_network
from edgehaul_tools.train.sequence.moves import MOVE_LABELS, MoveSet, load_moves
from edgehaul_tools.train.sequence.tasks import (
    ClassifyTask,
    NextPositionTask,
    SurpriseTask,
    evaluate_windows,
)
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    Recording,
    WindowSet,
    check_any,
    load_surprises,
    load_windows,
    scaled_input,
    spans_of,
    with_features,
)
from edgehaul_tools.train.start import AFRESH, Start

__all__ = ["evaluate_windows", "fit_sequence", "train_sequence"]


def train_sequence(  # noqa: PLR0913 - all that a training is
    recipe: SequenceRecipe,
    train: Sequence[Recording],
    val: Sequence[Recording],
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    split: KeptSplit = NO_SPLIT,
    start: Start = AFRESH,
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
        split: Which split is kept beside the model.
        start: What is begun with, in place of a random network.

    Raises:
        DatasetError: There is nothing to learn.
        SpecMismatchError: The recipe names an unknown feature or channel.
        UsageError: ``out`` holds another training, or an unfinished one.
        ModelError: The training diverged.
    """
    started = Started()
    named = with_features(recipe, [*train, *val])
    spec, learnt, measured = _LEARNT[recipe.goal](named, train, val)
    fitted = fit_sequence(
        named, spec, learnt, measured, progress, out=out, resume=resume, start=start
    )
    if recipe.goal == "anomaly":
        output = msgspec.structs.replace(spec.output, score_threshold=fitted.metrics["threshold"])
        spec = msgspec.structs.replace(spec, output=output)
    counts = {"train": len(learnt), "val": len(measured)}
    followed = Recipe(sequence=recipe)
    return keep_run(out, "sequence", spec, followed, fitted, counts, started, split, start.origin)


def fit_sequence(  # noqa: PLR0913 - all that a training is
    recipe: SequenceRecipe,
    spec: ModelSpec,
    train: WindowSet | MoveSet,
    val: WindowSet | MoveSet,
    progress: Progress = no_progress,
    *,
    out: Path | None = None,
    resume: bool = False,
    start: Start = AFRESH,
) -> Fitted[nn.Module]:
    """Train a model on windows; see ``train_sequence``.

    Args:
        recipe: How, with the names of its features.
        spec: Normalises the windows and names the answers.
        train: What is learnt from; moves for ``next_position``.
        val: What is measured on.
        progress: Called after each epoch.
        out: Where checkpoints and ``metrics.csv`` are written; none writes nothing.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.
        start: What is begun with, in place of a random network.
    """
    undecided = (val.classes == UNDECIDED).sum() if isinstance(val, WindowSet) else 0
    require_measured(recipe.optimizer, len(val) - int(undecided))
    with seeded_torch(recipe.seed, recipe.threads):
        network = start.network(sequence_network(recipe, spec))
    plan = Plan(
        optimizer=recipe.optimizer,
        seed=recipe.seed,
        threads=recipe.threads,
        precision=recipe.precision,
        folder=out,
        digest=training_digest(
            as_digested(recipe), *_bytes(train), *_bytes(val), *start.digested()
        ),
        resume=resume,
    )
    if isinstance(train, MoveSet) and isinstance(val, MoveSet) and isinstance(network, RealUnits):
        return start.fit(NextPositionTask(network, recipe, spec, train, val), plan, progress)
    if not (isinstance(train, WindowSet) and isinstance(val, WindowSet)):
        raise TypeError(f"goal {recipe.goal!r} learns from other windows than these")
    if isinstance(network, Bounded):
        return start.fit(SurpriseTask(network, recipe, spec, train, val), plan, progress)
    return start.fit(ClassifyTask(network, recipe, spec, train, val), plan, progress)


def _bytes(windows: WindowSet | MoveSet) -> Iterator[bytes]:
    for field in fields(windows):
        yield getattr(windows, field.name).tobytes()


_Learnt = tuple[ModelSpec, WindowSet | MoveSet, WindowSet | MoveSet]


def _classes(
    recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording]
) -> _Learnt:
    labels = _labels(recipe, train)
    parts = load_windows(train, recipe, labels), load_windows(val, recipe, labels)
    check_any(len(parts[0]), recipe, train)
    _check_classes(parts[0], labels, recipe)
    output = OutputSpec(
        head="sequence",
        labels=labels,
        score_threshold=recipe.score_threshold,
        normal_label=recipe.normal_label,
    )
    spec = ModelSpec("sequence", scaled_input(recipe, parts[0].features), output)
    return spec, *parts


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


def _moves(recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording]) -> _Learnt:
    parts = load_moves(train, recipe), load_moves(val, recipe)
    check_any(len(parts[0]), recipe, train)
    output = OutputSpec(head="regress", labels=MOVE_LABELS, horizon_s=recipe.horizon_s)
    return ModelSpec("sequence", scaled_input(recipe, parts[0].features), output), *parts


def _surprises(
    recipe: SequenceRecipe, train: Sequence[Recording], val: Sequence[Recording]
) -> _Learnt:
    parts = load_surprises(train, recipe), load_surprises(val, recipe)
    for name, part, windows in zip(("training", "validation"), (train, val), parts, strict=True):
        if not part:
            raise DatasetError(
                f"the {name} part is empty; by its normal windows the threshold is chosen",
                remedy="raise its share in split",
            )
        check_any(len(windows), recipe, part)
        if not (windows.classes == 0).any():
            raise DatasetError(
                f"every window of the {name} part holds an event",
                remedy="add normal recordings, or choose a shorter window",
            )
    normal = parts[0].features[parts[0].classes == 0]
    output = OutputSpec(head="anomaly", normal_label=recipe.normal_label)
    return ModelSpec("sequence", scaled_input(recipe, normal), output), *parts


_Learner = Callable[[SequenceRecipe, Sequence[Recording], Sequence[Recording]], _Learnt]
_LEARNT: dict[str, _Learner] = {
    "classify": _classes,
    "next_position": _moves,
    "anomaly": _surprises,
}
