"""The training of an autoencoder that knows normal pictures, and so sees others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import AnomalyRecipe, Recipe
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.train.anomaly.deployed import anomaly_network
from edgehaul_tools.train.anomaly.task import AnomalyTask
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import as_digested, training_digest
from edgehaul_tools.train.loop.fit import Plan
from edgehaul_tools.train.loop.optimization import Progress, no_progress, seeded_torch
from edgehaul_tools.train.pictures.canvases import CanvasSet, load_canvases
from edgehaul_tools.train.run_directory import Started, TrainingRun, keep_run
from edgehaul_tools.train.start import AFRESH, Start


def train_anomaly(  # noqa: PLR0913 - all that a training is
    recipe: AnomalyRecipe,
    train: DetectionDataset,
    val: DetectionDataset,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    split: KeptSplit = NO_SPLIT,
    start: Start = AFRESH,
) -> TrainingRun:
    """Train an autoencoder on normal pictures and write its run directory.

    The threshold is the score that ``false_alarms`` of the normal validation pictures reach.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: Of it, the pictures with ``normal_label`` are learnt from; all without one.
        val: What the threshold is chosen by; its other pictures show how well they are found.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.
        split: Which split is kept beside the model.
        start: What is begun with, in place of a random network.

    Raises:
        DatasetError: There is nothing to learn or to choose the threshold by, or a picture
            cannot be read.
        ModelError: The training diverged.
        UsageError: ``out`` holds an unfinished training, or one that is not this.
    """
    started = Started()
    canvas = _canvas(recipe)
    _require_label(recipe, train)
    normal = [sample for sample in train.samples if _is_normal(sample, train, recipe)]
    is_anomaly = np.array([not _is_normal(one, val, recipe) for one in val.samples], dtype=bool)
    _require_normal(len(normal), "training", recipe, train)
    _require_normal(int((~is_anomaly).sum()), "validation", recipe, val)
    parts = load_canvases(train.subset(normal), canvas), load_canvases(val, canvas)
    with seeded_torch(recipe.seed, recipe.threads):
        network = start.network(anomaly_network(recipe))
    plan = _plan(recipe, out, parts, is_anomaly, start, resume=resume)
    fitted = start.fit(AnomalyTask(network, recipe, *parts, is_anomaly), plan, progress)
    output = OutputSpec(
        head="anomaly",
        normal_label=recipe.normal_label,
        score_threshold=fitted.metrics["threshold"],
    )
    spec = ModelSpec(task="anomaly", input=canvas, output=output)
    counts = {"train": len(parts[0]), "val": len(parts[1])}
    followed = Recipe(anomaly=recipe)
    return keep_run(out, "anomaly", spec, followed, fitted, counts, started, split, start.origin)


def _canvas(recipe: AnomalyRecipe) -> ImageInput:
    return ImageInput(
        width=recipe.width,
        height=recipe.height,
        resize=recipe.resize,
        color=recipe.color,
        name="image",
    )


def _plan(
    recipe: AnomalyRecipe,
    out: Path,
    parts: tuple[CanvasSet, CanvasSet],
    is_anomaly: NDArray[np.bool_],
    start: Start,
    *,
    resume: bool,
) -> Plan:
    return Plan(
        optimizer=recipe.optimizer,
        seed=recipe.seed,
        threads=recipe.threads,
        precision=recipe.precision,
        folder=out,
        digest=training_digest(
            as_digested(recipe),
            parts[0].names,
            parts[1].names,
            is_anomaly.tobytes(),
            *start.digested(),
        ),
        resume=resume,
    )


def _is_normal(sample: Sample, dataset: DetectionDataset, recipe: AnomalyRecipe) -> bool:
    if not recipe.normal_label:
        return True
    class_id = sample.class_id
    return class_id is not None and dataset.labels[class_id] == recipe.normal_label


def _require_label(recipe: AnomalyRecipe, dataset: DetectionDataset) -> None:
    if recipe.normal_label and recipe.normal_label not in dataset.labels:
        raise DatasetError(
            f"no picture is labelled {recipe.normal_label!r}",
            where=dataset.root,
            remedy=f"set normal_label to one of: {', '.join(dataset.labels) or 'none is labelled'}",
        )


def _require_normal(
    count: int, part: str, recipe: AnomalyRecipe, dataset: DetectionDataset
) -> None:
    if not count:
        of_label = f" labelled {recipe.normal_label!r}" if recipe.normal_label else ""
        raise DatasetError(
            f"the {part} part holds no picture{of_label}",
            where=dataset.root,
            remedy="add normal pictures, or change the shares of the split; the threshold is "
            "chosen by those of the validation part",
        )
