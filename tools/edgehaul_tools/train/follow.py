"""From a recipe to a run directory: read the dataset, split it, train, keep the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.series import Series, is_series_dataset, read_series_dataset
from edgehaul_tools.dataset.split import Splits, parts_of, write_splits
from edgehaul_tools.dataset.traces import LabelledTrace, read_truck_dataset
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE, refuse_unfinished
from edgehaul_tools.train.loop.optimization import Progress, no_progress
from edgehaul_tools.train.loop.processes import this_process
from edgehaul_tools.train.run_directory import RUN_FILE, TrainingRun, read_run

_PARTS = ("train", "val", "test")


class _Named(Protocol):
    """A trip or a series."""

    @property
    def name(self) -> str: ...


_Recording = TypeVar("_Recording", bound=_Named)


def follow_recipe(
    recipe: Recipe,
    dataset: Path,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
) -> TrainingRun:
    """Train what a recipe says and write the run directory.

    Beside the model it holds the split: ``train.json``, ``val.json`` and ``test.json`` (COCO)
    where pictures were learnt from, ``split.json`` with their names for trips and series.

    Args:
        recipe: What to train, and how.
        dataset: The dataset's folder.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``; without one the training
            begins, and one that is finished is returned as it is.

    Raises:
        UsageError: The split is impossible, or ``out`` holds a training that is unfinished,
            or another one than this.
        DatasetError: The dataset cannot be read, split or learnt from.
        ModelError: The training diverged.
    """
    refuse_unfinished(out, resume=resume)
    if resume and not (out / CHECKPOINT_FILE).exists() and (out / RUN_FILE).exists():
        return _finished(recipe, out)
    if recipe.sequence is not None:
        return _follow_sequence(recipe.sequence, dataset, out, progress, resume=resume)
    return _follow_pictures(recipe, dataset, out, progress, resume=resume)


def _finished(recipe: Recipe, out: Path) -> TrainingRun:
    run = read_run(out)
    if run.recipe != recipe:
        raise UsageError(
            "this training is finished, and it followed another recipe",
            where=out,
            remedy="leave out --resume to train anew, or name another folder with --out",
        )
    return run


def _follow_pictures(
    recipe: Recipe, dataset: Path, out: Path, progress: Progress, *, resume: bool
) -> TrainingRun:
    training = recipe.training
    if isinstance(training, SequenceRecipe):
        raise TypeError(training)
    whole = read_dataset(dataset, training.form)
    if not whole.labels and recipe.anomaly is None:
        raise DatasetError(
            "these pictures are not labelled",
            where=dataset,
            remedy="add COCO, YOLO or VOC labels, or a folder for each class",
        )
    parts = parts_of(whole, training.split)
    # A training that goes on has them already; those of another one must not be overwritten.
    if this_process().leads and not (out / CHECKPOINT_FILE).exists():
        write_splits(parts, out)
    return _train_pictures(recipe, parts, out, progress, resume=resume)


def _train_pictures(
    recipe: Recipe, parts: Splits, out: Path, progress: Progress, *, resume: bool
) -> TrainingRun:
    """Call the training of the recipe's kind; the others' modules are not imported."""
    train, val = parts.train, parts.val
    if recipe.detector is not None:
        from edgehaul_tools.train.detector.training import train_detector  # noqa: PLC0415 - as above

        return train_detector(recipe.detector, train, val, out, progress, resume=resume)
    if recipe.classifier is not None:
        from edgehaul_tools.train.classifier.training import train_classifier  # noqa: PLC0415 - as above

        return train_classifier(recipe.classifier, train, val, out, progress, resume=resume)
    if recipe.anomaly is not None:
        from edgehaul_tools.train.anomaly.training import train_anomaly  # noqa: PLC0415 - as above

        return train_anomaly(recipe.anomaly, train, val, out, progress, resume=resume)
    if recipe.generator is not None:
        from edgehaul_tools.train.generator.training import train_generator  # noqa: PLC0415 - as above

        return train_generator(recipe.generator, train, val, out, progress, resume=resume)
    raise UsageError("the recipe trains nothing", remedy="name what it trains")


def _follow_sequence(
    recipe: SequenceRecipe, dataset: Path, out: Path, progress: Progress, *, resume: bool
) -> TrainingRun:
    from edgehaul_tools.train.sequence.training import train_sequence  # noqa: PLC0415 - as above

    if recipe.split.source == "given":
        raise UsageError(
            "trips and series come in no parts",
            where="split.source",
            remedy="let the parts be made (split: {source: made})",
        )
    recordings: Sequence[LabelledTrace | Series] = (
        read_series_dataset(dataset) if is_series_dataset(dataset) else read_truck_dataset(dataset)
    )
    train, val, test = split_traces(recordings, recipe.split)
    if this_process().leads:
        out.mkdir(parents=True, exist_ok=True)
        names = {
            name: [recording.name for recording in part]
            for name, part in zip(_PARTS, (train, val, test), strict=True)
        }
        text = msgspec.json.format(msgspec.json.encode(names))
        (out / "split.json").write_bytes(text + b"\n")
    return train_sequence(recipe, train, val, out, progress, resume=resume)


def split_traces(
    traces: Sequence[_Recording], shares: SplitSection
) -> tuple[list[_Recording], list[_Recording], list[_Recording]]:
    """Divide trips or series into train, val and test; none is ever torn apart.

    Raises:
        DatasetError: There are fewer than parts, or none is left to learn from.
    """
    wanted = [shares.train, shares.val, shares.test]
    if len(traces) < sum(share > 0 for share in wanted):
        raise DatasetError(
            f"{len(traces)} trips cannot make {sum(share > 0 for share in wanted)} parts",
            remedy="add trips, or set split.val and split.test to 0",
        )
    order = np.random.default_rng(shares.seed).permutation(len(traces))
    counts = [max(1, round(share * len(traces))) if share > 0 else 0 for share in wanted[1:]]
    if sum(counts) >= len(traces):
        raise DatasetError(
            f"validation and test take all of {len(traces)} trips, and none is left to learn from",
            remedy="add trips, or raise split.train",
        )
    val, test = order[: counts[0]], order[counts[0] : sum(counts)]
    chosen = (order[sum(counts) :], val, test)
    train_part, val_part, test_part = ([traces[i] for i in sorted(part)] for part in chosen)
    return train_part, val_part, test_part
