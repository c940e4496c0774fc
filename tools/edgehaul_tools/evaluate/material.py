"""What models are measured on: a part of a dataset of pictures, or of recordings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.dataset.series import is_series_dataset, read_series_dataset
from edgehaul_tools.dataset.split import parts_of
from edgehaul_tools.dataset.traces import read_truck_dataset
from edgehaul_tools.train.kept_split import RecordingSplit, recording_digest
from edgehaul_tools.train.sequence.windows import Recording

Content = TypeVar("Content", bound=Sized)


@dataclass(frozen=True)
class Material(Generic[Content]):
    """A part of a dataset.

    Attributes:
        root: Where the dataset is.
        part: ``train``, ``val``, ``test`` or ``all``.
        content: What is in the part.
        val: The validation part, where the dataset has one: temperatures are fitted on it.
        notes: What the user should know of the choice.
    """

    root: Path
    part: str
    content: Content
    val: Content | None = None
    notes: tuple[str, ...] = ()


Pictures = Material[DetectionDataset]
Recordings = Material[tuple[Recording, ...]]


def read_pictures(data: Path, part: str, split_from: Path | None) -> Pictures:
    """Read pictures and choose the part.

    Args:
        data: The dataset.
        part: ``train``, ``val``, ``test``, ``all``, or empty: the test part where a run or the
            dataset itself says which it is, else all.
        split_from: Run directory that says what its training learnt from.

    Raises:
        DatasetError: The dataset is unusable, or the part is empty.
    """
    dataset = read_dataset(data)
    if split_from is not None:
        named = _run_pictures(split_from)
        parts = {
            name: dataset.subset(s for s in dataset.samples if s.path.resolve() in paths)
            for name, paths in named.items()
        }
        return _chosen(data, dataset, part, parts, split_from)
    if any(sample.part for sample in dataset.samples):
        parts = {n: dataset.subset(s for s in dataset.samples if s.part == n) for n in PARTS}
    elif part in PARTS:
        made = parts_of(dataset, SplitSection())
        parts = {"train": made.train, "val": made.val, "test": made.test}
    else:
        parts = {}
    return _chosen(data, dataset, part, parts, None)


def read_recordings(data: Path, part: str, split_from: Path | None) -> Recordings:
    """Read trips or series and choose the part; see :func:`read_pictures`.

    Raises:
        DatasetError: The dataset is unusable, or the part is empty.
        UsageError: A part is asked for, and nothing says which recordings are in it.
    """
    series = is_series_dataset(data)
    every: tuple[Recording, ...] = read_series_dataset(data) if series else read_truck_dataset(data)
    if split_from is not None:
        kept, marks = _run_recordings(split_from), [(r, recording_digest(r)) for r in every]
        parts: dict[str, tuple[Recording, ...]] = {
            part: tuple(r for r, mark in marks if kept.holds(part, r.name, mark)) for part in PARTS
        }
        return _chosen(data, every, part, parts, split_from)
    if part in PARTS:
        raise UsageError(
            f"nothing says which recordings are in the {part} part",
            where=data,
            remedy="name the run with --split-from (of verify: --run), or take --part all",
        )
    return _chosen(data, every, part, {}, None)


def learnt_from(run: Path, names: Iterable[str], content: Content) -> int:
    """Return how many of these pictures or recordings a run's training learnt from.

    Args:
        run: The run directory.
        names: Of the samples that are measured on.
        content: What they are of.
    """
    if isinstance(content, tuple):
        kept = _run_recordings(run)
        marks = {recording.name: recording_digest(recording) for recording in content}
        return sum(kept.holds("train", name, marks[name]) for name in names)
    pictures = _run_pictures(run)["train"]
    return sum(Path(name).resolve() in pictures for name in names)


def _chosen(
    data: Path,
    every: Content,
    part: str,
    parts: dict[str, Content],
    split_from: Path | None,
) -> Material[Content]:
    notes: list[str] = []
    known = sum(len(p) for p in parts.values())
    if split_from is not None and not known:
        notes.append(f"nothing of this dataset is in the split of {split_from}: all of it is new")
        return Material(data, "all", every, None, tuple(notes))
    if not parts and not part:
        notes.append(
            "nothing says what the models learnt from: if it is in this dataset, the figures are "
            "too good. Name the run with --split-from"
        )
    if part == "all" or not parts:
        return Material(data, "all", every, parts.get("val"), tuple(notes))
    name = part or "test"
    if not len(parts[name]):
        raise DatasetError(
            f"the {name} part is empty",
            where=split_from or data,
            remedy="choose another with --part, or train with a larger share of it",
        )
    left = len(every) - known
    if left:
        notes.append(f"{left} samples of the dataset are in no part and left out")
    val = parts["val"] if len(parts["val"]) else None
    return Material(data, name, parts[name], val, tuple(notes))


def _run_pictures(run: Path) -> dict[str, set[Path]]:
    files = {name: run / f"{name}.json" for name in PARTS}
    if not any(file.is_file() for file in files.values()):
        raise _no_split(run)
    return {
        name: {s.path.resolve() for s in read_dataset(file).samples} if file.is_file() else set()
        for name, file in files.items()
    }


def _run_recordings(run: Path) -> RecordingSplit:
    try:
        return msgspec.json.decode((run / SPLIT_FILE).read_bytes(), type=RecordingSplit)
    except FileNotFoundError:
        raise _no_split(run) from None
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"the split cannot be read: {error}", where=run / SPLIT_FILE, remedy="train again"
        ) from error


def _no_split(run: Path) -> DatasetError:
    return DatasetError(
        "this run does not say what it learnt from",
        where=run,
        remedy="name a folder that 'edgehaul train' wrote, or take --part all",
    )


def data_of_run(runs: Sequence[Path]) -> Path | None:
    """Return the test part that a run directory holds itself, where one does."""
    return next((run / "test.json" for run in runs if (run / "test.json").is_file()), None)
