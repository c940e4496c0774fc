"""From a recipe to a run directory: read the dataset, split it, train, keep the split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from edgehaul.config.recipe import DetectorRecipe, Recipe, SequenceRecipe
from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.split import split, write_splits
from edgehaul_tools.dataset.traces import LabelledTrace, read_truck_dataset
from edgehaul_tools.train.detector.training import train_detector
from edgehaul_tools.train.loop.optimization import Progress, no_progress
from edgehaul_tools.train.run_directory import TrainingRun
from edgehaul_tools.train.sequence.training import train_sequence

_PARTS = ("train", "val", "test")


def follow_recipe(
    recipe: Recipe, dataset: Path, out: Path, progress: Progress = no_progress
) -> TrainingRun:
    """Train what a recipe says and write the run directory.

    Beside the model it holds the split: ``train.json``, ``val.json`` and ``test.json`` (COCO)
    of a detector, ``split.json`` with the names of the trips of a classifier.

    Args:
        recipe: What to train, and how.
        dataset: The dataset's folder.
        out: The run directory.
        progress: Called after each epoch.

    Raises:
        UsageError: The split is impossible.
        DatasetError: The dataset cannot be read, split or learnt from.
        ModelError: The training diverged.
    """
    if recipe.detector is not None:
        return _follow_detector(recipe.detector, dataset, out, progress)
    if recipe.sequence is not None:
        return _follow_sequence(recipe.sequence, dataset, out, progress)
    raise UsageError("the recipe trains nothing", remedy="name 'detector' or 'sequence'")


def _follow_detector(
    recipe: DetectorRecipe, dataset: Path, out: Path, progress: Progress
) -> TrainingRun:
    shares = recipe.split
    whole = read_dataset(dataset, recipe.form)
    if not whole.labels:
        raise DatasetError(
            "these pictures are not labelled", where=dataset, remedy="add COCO, YOLO or VOC labels"
        )
    parts = split(whole, (shares.train, shares.val, shares.test), shares.seed)
    write_splits(parts, out)
    return train_detector(recipe, parts.train, parts.val, out, progress)


def _follow_sequence(
    recipe: SequenceRecipe, dataset: Path, out: Path, progress: Progress
) -> TrainingRun:
    train, val, test = split_traces(read_truck_dataset(dataset), recipe.split)
    out.mkdir(parents=True, exist_ok=True)
    names = {
        name: [trace.name for trace in part]
        for name, part in zip(_PARTS, (train, val, test), strict=True)
    }
    (out / "split.json").write_bytes(msgspec.json.format(msgspec.json.encode(names)) + b"\n")
    return train_sequence(recipe, train, val, out, progress)


def split_traces(
    traces: Sequence[LabelledTrace], shares: SplitSection
) -> tuple[list[LabelledTrace], list[LabelledTrace], list[LabelledTrace]]:
    """Divide trips into train, val and test; a trip is never torn apart.

    Raises:
        DatasetError: There are fewer trips than parts, or none is left to learn from.
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
