"""Groups other than those that a dataset comes with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from edgehaul_tools.dataset.groups import name_prefix
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

GROUPINGS: dict[str, Callable[[Sample], str]] = {
    "dataset": lambda sample: sample.group,
    "folder": lambda sample: str(sample.path.parent),
    "prefix": lambda sample: name_prefix(sample.path),
    "none": lambda sample: str(sample.path),
}
"""What a picture's group is: what the dataset says, its folder, its name without the counter
at the end, or the picture alone."""


def regrouped(dataset: DetectionDataset, by: str) -> DetectionDataset:
    """Return a dataset with other groups.

    Args:
        dataset: The dataset.
        by: One of ``GROUPINGS``.
    """
    group_of = GROUPINGS[by]
    return dataset.subset(
        dataclasses.replace(sample, group=group_of(sample)) for sample in dataset.samples
    )
