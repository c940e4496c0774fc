"""Which pictures belong together: guessed from their names where the dataset does not say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

_FEWEST_GROUPS = 5
_LARGEST_SHARE = 0.6
_COUNTER = re.compile(r"[-_. ]*(?:frame|img|image|f)?[-_. ]*\d+$", re.IGNORECASE)


def guess_groups(paths: Sequence[PurePath], *, folders_tell: bool = True) -> list[str]:
    """Return one group name for each picture.

    ``dock3_0815_000123.jpg`` is frame 123 of ``dock3_0815``. Where such prefixes (or else the
    folders) do not make at least five groups, none of them with more than 60 % of the
    pictures, they tell nothing, and each picture is its own group; near-duplicates are
    kept together by :func:`edgehaul_tools.dataset.split.split` all the same.

    Args:
        paths: Paths relative to the dataset: the groups are called the same wherever it lies.
        folders_tell: Whether the folders say who took the pictures; those of classes do not.
    """
    folders = [path.parent.as_posix() if folders_tell else "" for path in paths]
    prefixes = [
        f"{folder}/{name_prefix(path)}" for folder, path in zip(folders, paths, strict=True)
    ]
    if _tell(prefixes):
        return [PurePath(name).name or name for name in prefixes]
    return folders if _tell(folders) else [path.as_posix() for path in paths]


def name_prefix(path: PurePath) -> str:
    """Return a picture's name without the counter at its end."""
    return _COUNTER.sub("", path.stem)


def _tell(names: Sequence[str]) -> bool:
    counts = Counter(names)
    most = max(counts.values(), default=0)
    return len(counts) >= _FEWEST_GROUPS and most <= _LARGEST_SHARE * len(names)
