"""Splits that do not leak: groups and near-duplicates stay on one side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError, UsageError
from edgehaul_tools.dataset.coco import write_coco
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_HASH_SIDE = 16
_HASH_BITS = _HASH_SIDE * _HASH_SIDE
_NEAR_BITS = 12
"""Pictures whose hashes differ in no more bits (of 256) count as the same scene."""
_ROWS_AT_ONCE = 1024


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

    Raises:
        DatasetError: The folder holds a file for a part that is empty now. What an earlier
            split tested on may be learnt from in this one, so it must not stay beside it;
            and it may be somebody's own.
    """
    named = {"train": parts.train, "val": parts.val, "test": parts.test}
    files = {name: folder / f"{name}.json" for name in named}
    for name, part in named.items():
        if not part.samples and files[name].exists():
            raise DatasetError(
                f"this file is from another split: this one has no {name} part",
                where=files[name],
                remedy="remove it, or name another folder with --out",
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in named.items():
        if part.samples:
            write_coco(part, files[name])


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
    groups = _joined(dataset.samples)
    wanted = sum(fraction > 0 for fraction in fractions)
    if len(groups) < wanted:
        raise DatasetError(
            f"{len(groups)} independent groups of pictures cannot make {wanted} parts",
            where=dataset.root,
            remedy="add pictures of other cameras, days or vehicles",
        )
    parts = _assign(dataset, groups, np.array(fractions), seed)
    return Splits(*(dataset.subset(dataset.samples[i] for i in sorted(part)) for part in parts))


def near_duplicates(samples: Sequence[Sample]) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices of pictures that look the same, by their difference hashes.

    Source: N. Krawetz, "Kind of Like That" (2013), with 16 x 16 bits.
    """
    bits = np.stack([_difference_hash(sample) for sample in samples]).astype(np.float32) * 2 - 1
    for start in range(0, len(bits), _ROWS_AT_ONCE):
        agreement = bits[start : start + _ROWS_AT_ONCE] @ bits.T
        rows, columns = np.nonzero(agreement >= _HASH_BITS - 2 * _NEAR_BITS)
        for row, column in zip(rows, columns, strict=True):
            if start + row < column:
                yield start + int(row), int(column)


def _difference_hash(sample: Sample) -> NDArray[np.bool_]:
    """Return whether each cell of a coarse picture is darker than its right neighbour."""
    image = cv2.imread(str(sample.path), cv2.IMREAD_REDUCED_GRAYSCALE_4)
    if image is None:
        raise DatasetError("the picture cannot be decoded", where=sample.path, remedy="replace it")
    size = (_HASH_SIDE + 1, _HASH_SIDE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.int16)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def _joined(samples: Sequence[Sample]) -> list[list[int]]:
    """Return sets of indices that must stay together: groups, joined by near-duplicates."""
    leader = list(range(len(samples)))

    def find(index: int) -> int:
        while leader[index] != index:
            leader[index] = leader[leader[index]]
            index = leader[index]
        return index

    first_of: dict[str, int] = {}
    for index, sample in enumerate(samples):
        leader[find(index)] = find(first_of.setdefault(sample.group, index))
    for a, b in near_duplicates(samples):
        leader[find(a)] = find(b)
    members: dict[int, list[int]] = defaultdict(list)
    for index in range(len(samples)):
        members[find(index)].append(index)
    return list(members.values())


def _assign(
    dataset: DetectionDataset, groups: list[list[int]], fractions: NDArray[np.float64], seed: int
) -> list[list[int]]:
    """Give each group to the part that lacks most of what it holds."""
    counts = np.zeros((len(groups), 1 + len(dataset.labels)))
    for row, group in enumerate(groups):
        counts[row, 0] = len(group)
        for index in group:
            for mark in dataset.samples[index].boxes:
                counts[row, 1 + mark.class_id] += 1
    total = np.maximum(counts.sum(axis=0), 1)
    lacking = fractions[:, None] * total
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(-counts[order, 0], kind="stable")]
    parts: list[list[int]] = [[] for _ in fractions]
    for place, row in enumerate(order):
        empty = [p for p, part in enumerate(parts) if fractions[p] > 0 and not part]
        # The last groups go to parts that would otherwise stay empty.
        candidates = empty if len(order) - place <= len(empty) else np.nonzero(fractions)[0]
        gain = [(lacking[p] * counts[row] / total**2 / fractions[p]).sum() for p in candidates]
        best = int(candidates[int(np.argmax(gain))])
        parts[best] += groups[row]
        lacking[best] -= counts[row]
    return parts
