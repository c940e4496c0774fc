"""Which pictures belong together: guessed from their names where the dataset does not say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_FEWEST_GROUPS = 5
_LARGEST_SHARE = 0.6
_COUNTER = re.compile(r"[-_. ]*(?:frame|img|image|f)?[-_. ]*\d+$", re.IGNORECASE)


def guess_groups(paths: Sequence[Path]) -> list[str]:
    """Return one group name for each picture.

    ``dock3_0815_000123.jpg`` is frame 123 of ``dock3_0815``. Where such prefixes (or else the
    folders) do not make at least five groups, none of them with more than 60 % of the
    pictures, they tell nothing, and each picture is its own group; near-duplicates are
    kept together by :func:`edgehaul_tools.dataset.split.split` all the same.
    """
    prefixes = [f"{path.parent}/{_COUNTER.sub('', path.stem)}" for path in paths]
    folders = [str(path.parent) for path in paths]
    for names in (prefixes, folders):
        counts = Counter(names)
        if len(counts) >= _FEWEST_GROUPS and max(counts.values()) <= _LARGEST_SHARE * len(names):
            return [Path(name).name or name for name in names] if names is prefixes else names
    return [str(path) for path in paths]
