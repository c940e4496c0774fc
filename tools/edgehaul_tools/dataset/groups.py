"""Which pictures belong together: guessed from their names where the dataset does not say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from edgehaul_tools.dataset.parts import part_named

_FEWEST_GROUPS = 5
_LARGEST_SHARE = 0.6
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.:]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d{1,3}(?!\d))"
)
"""Year, month, day, with the time of day behind it or not: ``20240131``, ``2024-01-31_1215``."""
_TIME = re.compile(r"^[-_. T]*(?:\d{2}[-_.:]?\d{2}[-_.:]?(?:\d{2}[-_.:]?\d*)?(?!\d))?[-_. Z]*")
_NUMBERED = re.compile(r"[-_. ]+(?:frame|img|image|f)?[-_. ]*\d+$", re.IGNORECASE)
_NO_CAMERAS = frozenset({"", "dsc", "frame", "image", "img", "photo", "picture", "pxl", "vid"})
"""What cameras of any make call their pictures."""
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


def day_in(path: PurePath) -> str:
    """Return the day ``YYYY-MM-DD`` in a picture's name, or else in its folders'; or nothing."""
    found = (_DATE.search(name) for name in (path.stem, *reversed(path.parts[:-1])))
    return next((f"{day[1]}-{day[3]}-{day[4]}" for day in found if day), "")


def camera_in(path: PurePath) -> str:
    """Return the camera in a picture's name, what is before the date or the number; or nothing.

    Where a date comes first, it is what is behind that; where the name tells nothing, it is
    the folder, unless that is called ``images`` or as a part.
    """
    day = _DATE.search(path.stem)
    if day is None:
        called = name_prefix(path)
    else:
        behind = _NUMBERED.sub("", _TIME.sub("", path.stem[day.end() :]))
        called = path.stem[: day.start()].strip("-_. ") or behind
    if called.strip("-_. ").casefold() not in _NO_CAMERAS and not called.isdigit():
        return called
    folders = [f for f in path.parts[:-1] if f.casefold() != "images" and not part_named(f)]
    return "/".join(f for f in folders if not _DATE.search(f))


def _tell(names: Sequence[str]) -> bool:
    counts = Counter(names)
    most = max(counts.values(), default=0)
    return len(counts) >= _FEWEST_GROUPS and most <= _LARGEST_SHARE * len(names)
