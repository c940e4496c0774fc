"""A finished run to go on from: its recipe, its data, and exactly the parts that it had."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehaul.config.recipe import ClassifierRecipe, Recipe
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.coco_files import decode_coco
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.split import Splits
from edgehaul_tools.dataset.split_files import split_file
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.train.kept_split import RecordingSplit, recording_digest
from edgehaul_tools.train.run_directory import TrainingRun, read_run

_Recordings = list[LabelledTrace | Series]
Parts = tuple[_Recordings, _Recordings, _Recordings]
"""Trips or series that are for train, val and test."""
_NAMED = 3
"""So many samples are named in an error."""


@dataclass(frozen=True)
class FinishedRun:
    """A run to go on from.

    Attributes:
        folder: The run directory.
        run: What its ``run.json`` says.
        recipe: What it followed; of published weights it names none, for the run has its own.
        dataset: Where what it learnt from is.
    """

    folder: Path
    run: TrainingRun
    recipe: Recipe
    dataset: Path


def open_run_recipe(folder: Path, dataset: Path | None = None) -> FinishedRun:
    """Read a run in order to train on what it learnt from.

    Args:
        folder: The run directory.
        dataset: Where the dataset is now, if not where the run says.

    Raises:
        ModelError: The folder holds no run that can be read.
        DatasetError: The dataset is not there.
    """
    run = read_run(folder)
    training = run.recipe.training
    named = dataset or (Path(training.dataset) if training.dataset else None)
    if named is None or not named.exists():
        raise DatasetError(
            "the dataset that this run learnt from is not here any more",
            where=named or folder,
            remedy="say with --dataset where it is now",
        )
    if isinstance(training, ClassifierRecipe):
        training = msgspec.structs.replace(training, weights="")
    return FinishedRun(folder, run, run.recipe.with_training(training), named)


def kept_pictures(dataset: DetectionDataset, folder: Path) -> Splits:
    """Return the very parts of a dataset of pictures that a run had.

    Pictures that came to it since are left out; marks that were corrected since are the new ones.

    Args:
        dataset: As it was read now.
        folder: The run directory.

    Raises:
        ModelError: The folder holds no run.
        DatasetError: The run keeps no split, pictures of it are not there any more, or the
            classes are others now.
    """
    run = read_run(folder)
    learnt_from = Path(run.recipe.training.dataset)
    if run.spec.output.labels and run.spec.output.labels != dataset.labels:
        raise DatasetError(
            f"the classes are {', '.join(dataset.labels)}; the run learnt "
            f"{', '.join(run.spec.output.labels)}",
            where=dataset.root,
            remedy="name the dataset as it was with --dataset, or train again",
        )
    if not any(split_file(folder, part).is_file() for part in PARTS):
        raise _no_split(folder)
    names = {part: _picture_names(folder, split_file(folder, part), learnt_from) for part in PARTS}
    there = {_named_from(sample.path, dataset.root): sample for sample in dataset.samples}
    gone = sorted(name for part in names.values() for name in part if name not in there)
    _require_all(gone, sum(map(len, names.values())), "pictures", dataset.root)
    train, val, test = (dataset.subset(there[name] for name in names[part]) for part in PARTS)
    return Splits(train, val, test)


def kept_recordings(
    recordings: Sequence[LabelledTrace | Series], folder: Path, dataset: Path
) -> Parts:
    """Return the very parts of trips or series that a run had; see :func:`kept_pictures`.

    Args:
        recordings: The dataset, as it was read now.
        folder: The run directory.
        dataset: Where it was read from.

    Raises:
        DatasetError: The run keeps no split, or recordings of it are not there any more.
    """
    kept = _recording_split(folder)
    there = {one.name: one for one in recordings}
    marks = {one.name: recording_digest(one) for one in recordings}
    names: list[tuple[str, ...]] = [kept.train, kept.val, kept.test]
    every = [name for part in names for name in part]
    gone = [n for n in every if n not in there or kept.sha256.get(n, marks[n]) != marks[n]]
    _require_all(gone, len(every), "recordings", dataset)
    train, val, test = ([there[name] for name in part] for part in names)
    return train, val, test


def _picture_names(folder: Path, file: Path, learnt_from: Path) -> list[str]:
    """Return the names that a part's pictures have in the dataset, in the order of the file."""
    if not file.is_file():
        return []
    pictures = (folder / image.file_name for image in decode_coco(file).images)
    return [_named_from(path, learnt_from) for path in pictures]


def _named_from(picture: Path, dataset: Path) -> str:
    """Return a picture's path from its dataset's folder."""
    root = dataset.parent if dataset.suffix and not dataset.is_dir() else dataset
    return os.path.relpath(picture.resolve(), root.resolve())


def _recording_split(folder: Path) -> RecordingSplit:
    file = folder / SPLIT_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=RecordingSplit)
    except FileNotFoundError:
        raise _no_split(folder) from None
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"the split cannot be read: {error}", where=file, remedy="train again"
        ) from error


def _no_split(folder: Path) -> DatasetError:
    return DatasetError(
        "this run does not say what it learnt from, so what it must not learn from is unknown",
        where=folder,
        remedy="name a folder that 'edgehaul train' wrote",
    )


def _require_all(gone: Sequence[str], count: int, what: str, dataset: Path) -> None:
    if gone:
        more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        raise DatasetError(
            f"{len(gone)} of the {count} {what} that the run was given are not here as they were: "
            f"{', '.join(gone[:_NAMED])}{more}",
            where=dataset,
            remedy="name the dataset as it was with --dataset, or train again",
        )
