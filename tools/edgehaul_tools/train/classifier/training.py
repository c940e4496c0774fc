"""The training of a classifier of whole pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.train.architectures.published import load_published
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.classifier.task import ClassifiedSet, ClassifierTask
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import as_digested, training_digest
from edgehaul_tools.train.loop.fit import Plan
from edgehaul_tools.train.loop.optimization import (
    Progress,
    no_progress,
    require_measured,
    seeded_torch,
)
from edgehaul_tools.train.pictures.canvases import load_canvases
from edgehaul_tools.train.run_directory import Started, TrainingRun, keep_run
from edgehaul_tools.train.start import AFRESH, Start

_LOGGER = logging.getLogger(__name__)
_NAMED = 5
"""So many samples or classes are named in an error."""


def classifier_input(recipe: ClassifierRecipe) -> ImageInput:
    """Return the canvas of the classifier that ``recipe`` trains."""
    return ImageInput(
        width=recipe.width,
        height=recipe.height,
        resize=recipe.resize,
        color=recipe.color,
        name="image",
    )


def train_classifier(  # noqa: PLR0913 - all that a training is
    recipe: ClassifierRecipe,
    train: DetectionDataset,
    val: DetectionDataset,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    split: KeptSplit = NO_SPLIT,
    start: Start = AFRESH,
) -> TrainingRun:
    """Train a classifier of whole pictures and write its run directory.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here, its ``weights`` are
            a path from here.
        train: What is learnt from; each picture as a whole has a class.
        val: What the reported figures are taken on; may be empty.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.
        split: Which split is kept beside the model.
        start: What is begun with, in place of a random network.

    Raises:
        DatasetError: A picture has no class or cannot be read, a class has no picture, or
            there are fewer pictures than a batch holds.
        UsageError: ``out`` holds another training, or an unfinished one.
        ModelError: There is no such network, its weights do not fit, or it diverged.
    """
    started = Started()
    require_measured(recipe.optimizer, len(val))
    labels = tuple(train.labels)
    classes = [checked_classes(part, labels) for part in (train, val)]
    _check_enough(recipe, train, classes[0])
    canvas = classifier_input(recipe)
    network = _network(recipe, len(labels), start)
    parts = [
        ClassifiedSet(load_canvases(part, canvas), its_classes)
        for part, its_classes in zip((train, val), classes, strict=True)
    ]
    task = ClassifierTask(network, recipe, labels, parts[0], parts[1])
    plan = Plan(
        optimizer=recipe.optimizer,
        seed=recipe.seed,
        threads=recipe.threads,
        precision=recipe.precision,
        folder=out,
        digest=training_digest(
            as_digested(recipe), labels, *_described(train), *_described(val), *start.digested()
        ),
        resume=resume,
    )
    fitted = start.fit(task, plan, progress)
    output = OutputSpec(head="classify", labels=labels, score_threshold=recipe.score_threshold)
    spec = ModelSpec("classify", canvas, output)
    counts = {"train": len(parts[0]), "val": len(parts[1])}
    followed = Recipe(classifier=recipe)
    return keep_run(out, "classifier", spec, followed, fitted, counts, started, split, start.origin)


def checked_classes(dataset: DetectionDataset, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the class of each picture, (n,).

    Raises:
        DatasetError: A picture as a whole has no class, or one that has no name.
    """
    classes = [sample.class_id for sample in dataset.samples]
    found = zip(dataset.samples, classes, strict=True)
    bare = [sample for sample, class_id in found if class_id is None]
    if bare:
        raise DatasetError(
            f"{len(bare)} of {len(classes)} pictures have no class as a whole: {_named(bare)}",
            where=dataset.root,
            remedy="put the pictures into a folder for each class; or, where objects in them are "
            "marked, train a detector",
        )
    known = [class_id for class_id in classes if class_id is not None]
    out_of_range = [
        sample
        for sample, class_id in zip(dataset.samples, known, strict=True)
        if not 0 <= class_id < len(labels)
    ]
    if out_of_range:
        raise DatasetError(
            f"{len(out_of_range)} pictures have a class outside 0..{len(labels) - 1}: "
            f"{_named(out_of_range)}",
            where=dataset.root,
            remedy="correct their labels, or name the missing classes",
        )
    return np.array(known, dtype=np.int64)


def _check_enough(
    recipe: ClassifierRecipe, train: DetectionDataset, classes: NDArray[np.int64]
) -> None:
    """Refuse what nothing can be learnt from."""
    if not len(classes):
        raise DatasetError(
            "the training part holds no picture", where=train.root, remedy="add pictures"
        )
    counts = Counter(classes.tolist())
    if len(counts) == 1:
        (only,) = counts
        raise DatasetError(
            f"all pictures of the training part show {train.labels[only]!r}: there is nothing to "
            "tell apart",
            where=train.root,
            remedy="add pictures of another class, or train an anomaly detector on these",
        )
    empty = [label for number, label in enumerate(train.labels) if not counts[number]]
    if empty:
        more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
        raise DatasetError(
            f"no picture of the training part shows {', '.join(empty[:_NAMED])}{more}",
            where=train.root,
            remedy="add pictures of it, or remove the class",
        )
    if len(classes) < recipe.optimizer.batch:
        raise DatasetError(
            f"{len(classes)} pictures are fewer than a batch of {recipe.optimizer.batch}",
            where=train.root,
            remedy=f"add pictures, or set optimizer.batch to {len(classes)} or less",
        )


def _network(recipe: ClassifierRecipe, classes: int, start: Start) -> nn.Module:
    """Return the network to begin with: random, with published weights, or another start's."""
    with seeded_torch(recipe.seed, recipe.threads):
        network = build_classifier(
            recipe.network, classes, width=recipe.width, height=recipe.height
        )
    if recipe.weights:
        left_out = load_published(network, Path(recipe.weights))
        if left_out:
            _LOGGER.warning(
                "%s: made for other classes: its last layer (%s) is left out and learnt anew",
                recipe.weights,
                ", ".join(left_out),
            )
    with seeded_torch(recipe.seed, recipe.threads):
        network = start.network(network)
    # Channels last halves the time of a step on a processor.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs miss it


def _described(dataset: DetectionDataset) -> Iterator[object]:
    """Yield what makes a part the one it is, without reading its pictures."""
    yield [(s.path.name, s.width, s.height, s.class_id) for s in dataset.samples]


def _named(samples: list[Sample]) -> str:
    names = ", ".join(sample.path.name for sample in samples[:_NAMED])
    return f"{names} and {len(samples) - _NAMED} more" if len(samples) > _NAMED else names
