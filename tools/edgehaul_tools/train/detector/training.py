"""The training of the detector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import DetectorRecipe, Recipe
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.train.architectures.detector import STRIDES, DetectorNetwork, shape_of
from edgehaul_tools.train.detector.task import DetectorTask, detect_canvases
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import as_digested, training_digest
from edgehaul_tools.train.loop.fit import Plan
from edgehaul_tools.train.loop.optimization import (
    Progress,
    no_progress,
    require_measured,
    seeded_torch,
)
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet, load_canvases
from edgehaul_tools.train.run_directory import Fitted, Started, TrainingRun, keep_run
from edgehaul_tools.train.start import AFRESH, Start

__all__ = ["detect_canvases", "detector_spec", "fit_detector", "train_detector"]

_MEASURED_SHARE, _LONGEST_PAUSE = 4, 10
"""The figure is taken four times in a short training, and every ten epochs in a long one: it
costs as much as a part of an epoch."""
_NAMED = 5
"""So many classes are named in an error."""


def detector_spec(recipe: DetectorRecipe, labels: tuple[str, ...]) -> ModelSpec:
    """Return what goes into and comes out of the detector that ``recipe`` trains."""
    canvas = ImageInput(
        width=recipe.width,
        height=recipe.height,
        resize=recipe.resize,
        color=recipe.color,
        name="image",
    )
    output = OutputSpec(
        head="edgehaul",
        labels=labels,
        score_threshold=recipe.score_threshold,
        iou_threshold=recipe.iou_threshold,
        class_agnostic=recipe.class_agnostic,
        strides=STRIDES,
    )
    return ModelSpec(task="detect", input=canvas, output=output)


def train_detector(  # noqa: PLR0913 - all that a training is
    recipe: DetectorRecipe,
    train: DetectionDataset,
    val: DetectionDataset,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    split: KeptSplit = NO_SPLIT,
    start: Start = AFRESH,
) -> TrainingRun:
    """Train a detector and write its run directory.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: What is learnt from.
        val: What the reported accuracy is measured on; may be empty.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.
        split: Which split is kept beside the model.
        start: What is begun with, in place of a random network.

    Raises:
        DatasetError: There is nothing to learn, or nothing of a class; labels are out of
            range, or pictures cannot be read.
        ModelError: The training diverged.
        UsageError: ``out`` holds an unfinished training, or one that is not this; or nothing
            tells when to stop early.
    """
    started = Started()
    require_measured(recipe.optimizer, len(val))
    spec = detector_spec(recipe, tuple(train.labels))
    if not isinstance(spec.input, ImageInput):
        raise TypeError(spec.input)
    parts = {"train": load_canvases(train, spec.input), "val": load_canvases(val, spec.input)}
    _require_classes(parts["train"], spec.output.labels)
    fitted = fit_detector(
        recipe,
        spec,
        parts["train"],
        parts["val"],
        progress,
        folder=out,
        resume=resume,
        start=start,
    )
    counts = {name: len(part) for name, part in parts.items()}
    followed = Recipe(detector=recipe)
    return keep_run(out, "detector", spec, followed, fitted, counts, started, split, start.origin)


def fit_detector(  # noqa: PLR0913 - all that a training is
    recipe: DetectorRecipe,
    spec: ModelSpec,
    train: CanvasSet,
    val: CanvasSet,
    progress: Progress = no_progress,
    *,
    folder: Path | None = None,
    resume: bool = False,
    start: Start = AFRESH,
) -> Fitted[DetectorNetwork]:
    """Train a detector on canvases; see :func:`train_detector`.

    Args:
        recipe: How.
        spec: What goes into the detector and comes out of it.
        train: What is learnt from.
        val: What the figure is taken on; may be empty.
        progress: Called after each epoch.
        folder: Where checkpoints are kept; none keeps none.
        resume: Whether to go on from the checkpoint in ``folder``, if there is one.
        start: What is begun with, in place of a random network.
    """
    _require_objects(train, spec)
    _require_labels(train, spec, "training")
    _require_labels(val, spec, "validation")
    with seeded_torch(recipe.seed, recipe.threads):
        network = start.network(DetectorNetwork(shape_of(recipe, len(spec.output.labels))))
    if not isinstance(network, DetectorNetwork):
        raise TypeError(network)
    # Channels last halves the time of a step on a processor.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs miss it
    epochs = recipe.optimizer.epochs
    plan = Plan(
        optimizer=recipe.optimizer,
        seed=recipe.seed,
        threads=recipe.threads,
        precision=recipe.precision,
        folder=folder,
        digest=_digest(recipe, spec, train, start) if folder else "",
        resume=resume,
        evaluate_every=max(1, min(epochs // _MEASURED_SHARE, _LONGEST_PAUSE)),
    )
    fitted = start.fit(DetectorTask(network, recipe, spec, train, val), plan, progress)
    if not isinstance(fitted.network, DetectorNetwork):
        raise TypeError(fitted.network)
    return Fitted(fitted.network, fitted.history, fitted.metrics, fitted.ranges)


def _digest(recipe: DetectorRecipe, spec: ModelSpec, train: CanvasSet, start: Start) -> str:
    """Return what makes a training this one; the pictures themselves by names and marks."""
    marks = [
        np.ascontiguousarray(array).tobytes()
        for pair in zip(train.boxes, train.classes, strict=True)
        for array in pair
    ]
    return training_digest(as_digested(recipe), spec, train.names, *marks, *start.digested())


def _require_classes(train: CanvasSet, labels: tuple[str, ...]) -> None:
    """Refuse classes that would be trained without an object: they are never found."""
    there = {int(class_id) for classes in train.classes for class_id in classes}
    empty = [label for number, label in enumerate(labels) if number not in there]
    if not empty or len(empty) == len(labels):  # without any object there is another remedy
        return
    more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
    small = f"; {train.too_small} objects are too small on the canvas" if train.too_small else ""
    raise DatasetError(
        f"no object of the training part is of: {', '.join(empty[:_NAMED])}{more}{small}",
        remedy="label some, remove the class, or let another split be made (split.seed)",
    )


def _require_objects(train: CanvasSet, spec: ModelSpec) -> None:
    if any((classes >= 0).any() for classes in train.classes):
        return
    if train.too_small and isinstance(spec.input, ImageInput):
        raise DatasetError(
            f"the training part holds no labelled object that is larger than a pixel on the "
            f"canvas of {spec.input.width}x{spec.input.height} pixels; {train.too_small} are "
            "smaller",
            remedy="raise width and height in the recipe",
        )
    raise DatasetError(
        "the training part holds no labelled object", remedy="label some pictures first"
    )


def _require_labels(part: CanvasSet, spec: ModelSpec, name: str) -> None:
    """Refuse classes without a label, and boxes that are no numbers."""
    count = len(spec.output.labels)
    for number, (boxes, classes) in enumerate(zip(part.boxes, part.classes, strict=True)):
        where = part.names[number] if part.names else f"picture {number} of the {name} part"
        wrong = classes[(classes >= count) | ((classes < 0) & (classes != IGNORED))]
        if len(wrong):
            raise DatasetError(
                f"an object is of class {wrong[0]}, and there are {count} labels",
                where=where,
                remedy="correct the class, or the list of labels; classes count from 0",
            )
        if not np.isfinite(boxes).all():
            raise DatasetError("a box is no number", where=where, remedy="correct or remove it")
