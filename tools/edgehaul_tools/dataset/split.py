"""Splits that do not leak: groups and near-duplicates stay on one side."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import SplitSection
from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.assignment import assigned
from edgehaul_tools.dataset.clusters import independent_groups
from edgehaul_tools.dataset.coco import coco_of
from edgehaul_tools.dataset.perceptual_hash import read_looks, similar_pairs
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample
from edgehaul_tools.dataset.split_files import finish_split_files, split_file, write_split_files

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """The three parts of a dataset.

    Attributes:
        train: To learn from.
        val: To choose by.
        test: To report on.
    """

    train: DetectionDataset
    val: DetectionDataset
    test: DetectionDataset


def write_splits(parts: Splits, folder: Path) -> None:
    """Write each part that is not empty as COCO: ``train.json``, ``val.json``, ``test.json``.

    All of them are replaced, or none is.

    Raises:
        DatasetError: They cannot be written, or the folder holds a file for a part that is
            empty now. What an earlier split tested on may be learnt from in this one, so it
            must not stay beside it; and it may be somebody's own.
    """
    finish_split_files(folder)
    named = {name: _called(part, name) for name, part in _by_name(parts)}
    for name, part in named.items():
        if not part.samples and split_file(folder, name).exists():
            raise DatasetError(
                f"this file is from another split: this one has no {name} part",
                where=split_file(folder, name),
                remedy="remove it, or name another folder with --out",
            )
    contents = {
        name: msgspec.json.encode(coco_of(part, folder))
        for name, part in named.items()
        if part.samples
    }
    write_split_files(contents, folder)


def _by_name(parts: Splits) -> tuple[tuple[Part, DetectionDataset], ...]:
    return ("train", parts.train), ("val", parts.val), ("test", parts.test)


def _called(dataset: DetectionDataset, name: Part) -> DetectionDataset:
    """Return a part whose pictures say that they are of it, whatever they were before."""
    return dataset.subset(dataclasses.replace(sample, part=name) for sample in dataset.samples)


def split(
    dataset: DetectionDataset,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Splits:
    """Divide a dataset so that no group and no near-duplicate is in two parts.

    Groups are put, large ones first, where pictures and classes are missing most, so that
    each part gets its share of every class.

    Args:
        dataset: To divide.
        fractions: Shares of train, val and test; they sum to 1, and 0 leaves a part empty.
        seed: The same seed and dataset give the same parts.

    Raises:
        UsageError: The fractions are no shares.
        DatasetError: There are fewer groups than parts.
    """
    # Put so that it refuses what is no number, too.
    if not (min(fractions) >= 0 and abs(sum(fractions) - 1) <= 1e-6):  # noqa: PLR2004 - rounding
        raise UsageError(
            f"the shares {fractions} do not sum to 1", remedy="give e.g. 0.7 0.15 0.15"
        )
    groups = independent_groups(dataset.samples, read_looks(dataset.samples))
    wanted = sum(fraction > 0 for fraction in fractions)
    if len(groups) < wanted:
        raise DatasetError(
            f"{len(groups)} independent groups of pictures cannot make {wanted} parts",
            where=dataset.root,
            remedy="add pictures of other cameras, days or vehicles",
        )
    parts = _assign(dataset, groups, np.array(fractions), seed)
    return Splits(*(dataset.subset(dataset.samples[i] for i in sorted(part)) for part in parts))


def parts_of(dataset: DetectionDataset, section: SplitSection) -> Splits:
    """Return the parts of a dataset as a recipe wants them: as they were given, or made.

    Raises:
        UsageError: The shares are no shares.
        DatasetError: The dataset comes in no parts, or cannot be divided.
    """
    if section.source == "made":
        return split(dataset, (section.train, section.val, section.test), section.seed)
    counts = Counter(sample.part for sample in dataset.samples)
    if not counts["train"]:
        given = ", ".join(name for name in ("val", "test") if counts[name])
        raise DatasetError(
            f"it comes with {given or 'no parts'}, and with no train part"
            if given
            else "it does not come in parts: nothing says which pictures are for train, val, test",
            where=dataset.root,
            remedy="add split files or folders called train, val and test, or let them be made "
            "(split: {source: made})",
        )
    if counts[""]:
        _LOGGER.warning(
            "%s: %d of %d pictures are in no part, and are left out",
            dataset.root,
            counts[""],
            len(dataset),
        )
    return Splits(
        *(
            dataset.subset(sample for sample in dataset.samples if sample.part == name)
            for name in ("train", "val", "test")
        )
    )


def near_duplicates(samples: Sequence[Sample]) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices of pictures that look the same, by their difference hashes.

    Raises:
        DatasetError: A picture cannot be decoded.
    """
    for a, b in similar_pairs(read_looks(samples)):
        yield int(a), int(b)


def _assign(
    dataset: DetectionDataset, groups: list[list[int]], fractions: NDArray[np.float64], seed: int
) -> list[list[int]]:
    """Return the pictures of each part, by how many pictures and marks each group has."""
    counts = np.zeros((len(groups), 1 + len(dataset.labels)))
    for row, group in enumerate(groups):
        counts[row, 0] = len(group)
        for index in group:
            for mark in dataset.samples[index].boxes:
                counts[row, 1 + mark.class_id] += 1
    return [
        [index for row in part for index in groups[row]]
        for part in assigned(counts, fractions, seed)
    ]
