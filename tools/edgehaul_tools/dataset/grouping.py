"""Groups other than those that a dataset comes with."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path, PurePath

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.exif_day import exif_day
from edgehaul_tools.dataset.groups import camera_in, day_in, name_prefix
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_LOGGER = logging.getLogger(__name__)
_UNKNOWN = "unknown"


def _camera(sample: Sample, root: Path) -> str:
    return camera_in(_below(sample, root))


def _day(sample: Sample, root: Path) -> str:
    return day_in(_below(sample, root)) or day_in(PurePath(exif_day(sample.path)))


GROUPINGS: dict[str, Callable[[Sample, Path], str]] = {
    "dataset": lambda sample, _: sample.group,
    "camera": _camera,
    "day": _day,
    "folder": lambda sample, _: str(sample.path.parent),
    "prefix": lambda sample, _: name_prefix(sample.path),
    "none": lambda sample, _: str(sample.path),
}
"""What a picture's group is: what the dataset says, the camera or vehicle before the date or
number in its name, the day in its name or EXIF, its folder, its name without the counter at the
end, or the picture alone."""
_TOLD = ("camera", "day")


def regrouped(dataset: DetectionDataset, by: str) -> DetectionDataset:
    """Return a dataset with other groups.

    Pictures that do not tell their camera or day are one group together: each may be of the
    same one as any other of them.

    Args:
        dataset: The dataset.
        by: One of ``GROUPINGS``.

    Raises:
        DatasetError: Most pictures do not tell their camera or day.
    """
    group_of = GROUPINGS[by]
    root = dataset.root.parent if dataset.root.is_file() else dataset.root
    groups = [group_of(sample, root) for sample in dataset.samples]
    if by in _TOLD:
        _require_told(groups, by, dataset.root)
        groups = [group or _UNKNOWN for group in groups]
    return dataset.subset(
        dataclasses.replace(sample, group=group)
        for sample, group in zip(dataset.samples, groups, strict=True)
    )


def _require_told(groups: list[str], by: str, root: Path) -> None:
    untold = groups.count("")
    if 2 * untold > len(groups):
        raise DatasetError(
            f"{untold} of {len(groups)} pictures do not tell their {by}",
            where=root,
            remedy="name them as dock3_2024-01-31_0001.jpg, or choose another --group-by",
        )
    if untold:
        _LOGGER.warning("%s: %d pictures do not tell their %s and stay together", root, untold, by)


def _below(sample: Sample, root: Path) -> PurePath:
    """Return a picture's path in the dataset: what folders further up are called says nothing."""
    parts = PurePath(os.path.relpath(sample.path, root)).parts
    return PurePath(*(part for part in parts if part != ".."))
