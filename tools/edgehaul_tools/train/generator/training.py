"""The training of a conditional GAN that makes pictures of rare classes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import GeneratorRecipe, Recipe
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.train.architectures.adversarial import Generator
from edgehaul_tools.train.generator.crops import LEAST_SIDE_PX, Crops, cut_crops
from edgehaul_tools.train.generator.duel import Duel, Round
from edgehaul_tools.train.generator.samples import write_grid
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoints,
    as_digested,
    refuse_unfinished,
    training_digest,
)
from edgehaul_tools.train.loop.class_loss import drawn_balanced
from edgehaul_tools.train.loop.optimization import (
    DivergedError,
    EpochReport,
    Progress,
    no_progress,
    seeded_torch,
)
from edgehaul_tools.train.loop.processes import this_process
from edgehaul_tools.train.run_directory import (
    EpochRecord,
    Fitted,
    Started,
    TrainingRun,
    keep_run,
    write_metrics,
)

SAMPLES_FOLDER = "samples"
LEARNT_FROM = "train/"
"""Begins the names of the counts that say how many pictures of a class were learnt from."""
_FEWEST = 2
_GRIDS = 8
"""So many grids of drawn pictures are written in a training."""


def train_generator(  # noqa: PLR0913 - as the others, and how often it is kept
    recipe: GeneratorRecipe,
    train: DetectionDataset,
    val: DetectionDataset,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    split: KeptSplit = NO_SPLIT,
    checkpoint_s: float = 60.0,
) -> TrainingRun:
    """Train a conditional GAN on the objects of a dataset and write its run directory.

    The run's spec says which pictures are drawn, as the one of a classifier would that takes
    them. ``samples`` holds grids of drawn pictures, to be looked at.

    Of the recipe's ``augment`` only ``flip`` counts, as pictures are varied by DiffAugment; of
    its ``optimizer`` what a duel has: epochs, batch, rate, average and norm of the gradient.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: What is learnt from.
        val: Not looked at: there is no figure that would tell good pictures from bad ones.
            What they are good for, a classifier that learns from them must show.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``, if there is one.
        split: Which split is kept beside the model.
        checkpoint_s: As of :class:`~edgehaul_tools.train.loop.fit.Plan`.

    Raises:
        DatasetError: A class has no object that is large enough, or a picture cannot be read.
        ModelError: The training diverged.
        UsageError: ``out`` holds an unfinished training, or one that is not this; or there
            are several processes.
    """
    started = Started()
    if this_process().count > 1:
        raise UsageError("a generator trains in one process", remedy="start it without torchrun")
    refuse_unfinished(out, resume=resume)
    canvas = _canvas(recipe)
    crops = cut_crops(train, canvas)
    _require_classes(crops, train)
    digest = training_digest(as_digested(recipe), crops.images.tobytes(), crops.classes.tobytes())
    checkpoints = Checkpoints(out, digest, checkpoint_s)
    with seeded_torch(recipe.seed, recipe.threads):
        training = _Training(recipe, crops, len(train.labels), out, checkpoints)
        if resume:
            training.restore()
        fitted = training.run(progress)
    spec = ModelSpec("classify", canvas, OutputSpec(head="classify", labels=train.labels))
    counts = {"train": len(crops), "val": len(val)}
    for class_id, label in enumerate(train.labels):
        counts[LEARNT_FROM + label] = int((crops.classes == class_id).sum())
    followed = Recipe(generator=recipe)
    return keep_run(out, "generator", spec, followed, fitted, counts, started, split)


def _canvas(recipe: GeneratorRecipe) -> ImageInput:
    return ImageInput(
        width=recipe.width,
        height=recipe.height,
        resize=recipe.resize,
        color=recipe.color,
        name="image",
    )


def _require_classes(crops: Crops, dataset: DetectionDataset) -> None:
    counts = np.bincount(crops.classes, minlength=len(dataset.labels))
    few = [label for label, n in zip(dataset.labels, counts, strict=True) if n < _FEWEST]
    if not dataset.labels or few:
        small = f"; {crops.too_small} objects are below {LEAST_SIDE_PX:.0f} pixels"
        raise DatasetError(
            f"fewer than {_FEWEST} objects of the training part are of: "
            f"{', '.join(few) or 'any class'}{small if crops.too_small else ''}",
            where=dataset.root,
            remedy="label some, or remove the class from the dataset",
        )


class _Training:
    """The state of one training."""

    def __init__(
        self,
        recipe: GeneratorRecipe,
        crops: Crops,
        classes: int,
        out: Path,
        checkpoints: Checkpoints,
    ) -> None:
        self._recipe, self._crops, self._classes, self._out = recipe, crops, classes, out
        self._checkpoints = checkpoints
        self._duel = Duel(recipe, classes)
        self._history: list[EpochRecord] = []
        self._started_s = time.monotonic()

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one."""
        content = self._checkpoints.read()
        if not content:
            return
        state = self._checkpoints.decode(content)
        self._duel.restore(state["duel"])
        self._history = msgspec.json.decode(state["history"], type=list[EpochRecord])
        self._started_s -= state["elapsed_s"]

    def run(self, progress: Progress) -> Fitted[Generator]:
        epochs = self._recipe.optimizer.epochs
        every = max(1, epochs // _GRIDS)
        for epoch in range(len(self._history) + 1, epochs + 1):
            self._history.append(self._epoch(epoch))
            write_metrics(self._out, self._history)
            if epoch % every == 0 or epoch == epochs:
                grid = self._out / SAMPLES_FOLDER / f"epoch_{epoch:04d}.png"
                averaged = self._duel.averaged
                write_grid(averaged, self._classes, grid, color=self._recipe.color)
            if epoch < epochs and self._checkpoints.due(within_epoch=False):
                self._checkpoints.write(self._state())
            last = self._history[-1]
            progress(EpochReport(epoch, epochs, last.loss, "", None, last.elapsed_s))
        metrics = dict(self._history[-1].figures)
        return Fitted(self._duel.averaged, tuple(self._history), metrics)

    def _epoch(self, epoch: int) -> EpochRecord:
        began_s = time.monotonic()
        batches = self._batches(epoch)
        rounds = []
        try:
            for at, numbers in enumerate(batches, start=1):
                rounds.append(self._step(numbers, (epoch - 1) * len(batches) + at))
            self._duel.require_finite()
        except DivergedError as error:
            raise self._diverged(error, epoch, f"batch {at} of {len(batches)}") from error
        judged = float(np.mean([each.discriminator_loss for each in rounds]))
        drawn = float(np.mean([each.generator_loss for each in rounds]))
        now_s = time.monotonic()
        return EpochRecord(
            epoch=epoch,
            loss=judged,
            figures={"discriminator_loss": judged, "generator_loss": drawn},
            learning_rate=self._recipe.optimizer.learning_rate,
            samples_per_s=len(self._crops) / max(now_s - began_s, 1e-9),
            elapsed_s=now_s - self._started_s,
        )

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the crops of an epoch, each class as often as any other."""
        random = np.random.default_rng((self._recipe.seed, epoch))
        count = len(self._crops)
        order = drawn_balanced(self._crops.classes, count, random)
        return np.array_split(order, max(1, round(count / self._recipe.optimizer.batch)))

    def _step(self, numbers: NDArray[np.int64], step: int) -> Round:
        images = torch.from_numpy(self._crops.images[numbers]).permute(0, 3, 1, 2).float() / 255
        labels = torch.from_numpy(self._crops.classes[numbers])
        return self._duel.step(images, labels, step)

    def _diverged(self, error: DivergedError, epoch: int, batch: str) -> ModelError:
        kept = ""
        if (self._out / CHECKPOINT_FILE).exists():
            kept = f"; {CHECKPOINT_FILE} still holds good weights, from which --resume goes on"
        return ModelError(
            f"{error.message} (epoch {epoch}, {batch}){kept}",
            where=self._out,
            remedy="lower optimizer.learning_rate (a third is a good try)",
        )

    def _state(self) -> dict[str, Any]:
        return {
            "duel": self._duel.state(),
            "history": msgspec.json.encode(self._history).decode(),
            "elapsed_s": time.monotonic() - self._started_s,
        }
