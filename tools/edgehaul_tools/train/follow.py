"""From a recipe to a run directory: read the dataset, split it, train, keep the split."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.errors import DatasetError, ModelError, UsageError
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.recordings import read_traces
from edgehaul_tools.dataset.split import Splits, parts_of
from edgehaul_tools.dataset.trace_split import given_traces, split_traces
from edgehaul_tools.train.continued import Parts, kept_pictures, kept_recordings
from edgehaul_tools.train.kept_split import split_of_pictures, split_of_recordings
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE, refuse_unfinished
from edgehaul_tools.train.loop.optimization import Progress, no_progress
from edgehaul_tools.train.origin import Origin
from edgehaul_tools.train.run_directory import RUN_FILE, WEIGHTS_FILE, TrainingRun, read_run
from edgehaul_tools.train.start import AFRESH, Start


def follow_recipe(
    recipe: Recipe,
    dataset: Path,
    out: Path,
    progress: Progress = no_progress,
    *,
    resume: bool = False,
    start: Start = AFRESH,
    split_from: Path | None = None,
) -> TrainingRun:
    """Train what a recipe says and write the run directory.

    Beside the model it holds the split: ``train.json``, ``val.json`` and ``test.json`` (COCO)
    where pictures were learnt from, ``split.json`` with their names for trips and series. A
    finished run is replaced, with its split, by another one that is finished, and by nothing
    else: a training that is refused or diverges leaves it as it is.

    Args:
        recipe: What to train, and how.
        dataset: The dataset's folder; ``run.json`` names it in place of the recipe's.
        out: The run directory.
        progress: Called after each epoch.
        resume: Whether to go on from the checkpoint in ``out``; without one the training
            begins, and one that is finished is returned as it is.
        start: What is begun with, in place of a random network; not for a generator.
        split_from: A finished run on the same dataset, whose very parts are taken in place of
            those that the recipe asks for; its test part stays unseen.

    Raises:
        UsageError: The split is impossible, or ``out`` holds a training that is unfinished,
            or another one than this.
        DatasetError: The dataset cannot be read, split or learnt from.
        ModelError: The training diverged.
    """
    refuse_unfinished(out, resume=resume)
    recipe = _learning_from(recipe, dataset)
    if resume and not (out / CHECKPOINT_FILE).exists() and (out / RUN_FILE).exists():
        return _finished(recipe, out, start)
    if recipe.sequence is not None:
        recordings = _recordings(recipe.sequence, dataset, split_from)
        return _train_sequence(recipe.sequence, recordings, out, progress, start, resume=resume)
    parts = _pictures(recipe, dataset, split_from)
    split_of_pictures(parts).refuse_another(out)
    return _train_pictures(recipe, parts, out, progress, start, resume=resume)


def is_finished(recipe: Recipe, dataset: Path, out: Path, origin: Origin | None) -> bool:
    """Whether a folder holds the very run that a training would end with.

    Args:
        recipe: What would be trained, and how.
        dataset: The dataset's folder.
        out: The run directory, which need not be there.
        origin: What would be begun with; none is a random network.
    """
    needed = (out / RUN_FILE, out / WEIGHTS_FILE)
    if (out / CHECKPOINT_FILE).exists() or not all(file.is_file() for file in needed):
        return False
    try:
        return not _difference(read_run(out), _learning_from(recipe, dataset), origin)
    except ModelError:
        return False


def _learning_from(recipe: Recipe, dataset: Path) -> Recipe:
    used = msgspec.structs.replace(recipe.training, dataset=str(dataset.resolve()))
    return recipe.with_training(used)


def _finished(recipe: Recipe, out: Path, start: Start) -> TrainingRun:
    run = read_run(out)
    other = _difference(run, recipe, start.origin)
    if other:
        raise UsageError(
            f"this training is finished, and it {other}",
            where=out,
            remedy="leave out --resume to train anew, or name another folder with --out",
        )
    return run


def _difference(run: TrainingRun, recipe: Recipe, origin: Origin | None) -> str:
    """Return what a run did otherwise than is asked for; empty where nothing."""
    learnt_from = run.recipe.training.dataset
    same_data = msgspec.structs.replace(recipe.training, dataset=learnt_from)
    if run.recipe != recipe.with_training(same_data):
        return "followed another recipe"
    if run.origin != origin:
        return "began with another network, or learnt from it in another way"
    if learnt_from != recipe.training.dataset:
        return f"learnt from another dataset, {learnt_from}"
    return ""


def _pictures(recipe: Recipe, dataset: Path, split_from: Path | None) -> Splits:
    """Return the parts of a dataset of pictures: a run's own, or those that the recipe wants."""
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
    if split_from is None:
        return parts_of(whole, training.split)
    return kept_pictures(whole, split_from)


def _train_pictures(
    recipe: Recipe, parts: Splits, out: Path, progress: Progress, start: Start, *, resume: bool
) -> TrainingRun:
    """Call the training of the recipe's kind; the others' modules are not imported."""
    train, val, split = parts.train, parts.val, split_of_pictures(parts)
    if recipe.detector is not None:
        from edgehaul_tools.train.detector.training import train_detector  # noqa: PLC0415 - as above

        return train_detector(
            recipe.detector, train, val, out, progress, resume=resume, split=split, start=start
        )
    if recipe.classifier is not None:
        from edgehaul_tools.train.classifier.training import train_classifier  # noqa: PLC0415 - as above

        return train_classifier(
            recipe.classifier, train, val, out, progress, resume=resume, split=split, start=start
        )
    if recipe.anomaly is not None:
        from edgehaul_tools.train.anomaly.training import train_anomaly  # noqa: PLC0415 - as above

        return train_anomaly(
            recipe.anomaly, train, val, out, progress, resume=resume, split=split, start=start
        )
    if recipe.generator is not None and start is AFRESH:
        from edgehaul_tools.train.generator.training import train_generator  # noqa: PLC0415 - as above

        return train_generator(
            recipe.generator, train, val, out, progress, resume=resume, split=split
        )
    raise UsageError(f"a {recipe.kind} begins with random weights", remedy="train it by its recipe")


def _recordings(recipe: SequenceRecipe, dataset: Path, split_from: Path | None) -> Parts:
    """Return the parts of a dataset of trips or series; see :func:`_pictures`."""
    recordings = read_traces(dataset)
    if split_from is not None:
        return kept_recordings(recordings, split_from, dataset)
    if recipe.split.source == "made":
        return split_traces(recordings, recipe.split)
    return given_traces(recordings, dataset)


def _train_sequence(
    recipe: SequenceRecipe,
    parts: Parts,
    out: Path,
    progress: Progress,
    start: Start,
    *,
    resume: bool,
) -> TrainingRun:
    from edgehaul_tools.train.sequence.training import train_sequence  # noqa: PLC0415 - as above

    split = split_of_recordings(parts)
    split.refuse_another(out)
    train, val, _test = parts
    return train_sequence(
        recipe, train, val, out, progress, resume=resume, split=split, start=start
    )
