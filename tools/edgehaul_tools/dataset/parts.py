"""Which part a dataset comes with, as folders, files and subsets are commonly called."""

from __future__ import annotations

import re
from pathlib import PurePath

from edgehaul_tools.dataset.samples import Part

PARTS: tuple[Part, ...] = ("train", "val", "test")
_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_YEAR = re.compile(r"\d{4}$")


def part_named(name: str) -> Part:
    """Return the part that a name stands for (``valid``, ``Test``, ``train2017``), or none."""
    return _NAMES.get(_YEAR.sub("", name.casefold()), "")


def part_in_path(path: PurePath) -> Part:
    """Return the part that one of a picture's folders stands for, the outermost one."""
    return next((part for part in map(part_named, path.parts[:-1]) if part), "")
