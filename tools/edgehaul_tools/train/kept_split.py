"""The split that a run directory keeps: what was learnt from, and what nothing has looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.split import Splits, write_splits
from edgehaul_tools.train.durable import write_whole

RECORDING_SPLIT = "split.json"
"""Names the trips or series of each part."""
_EVERY_FILE = (*(f"{part}.json" for part in PARTS), RECORDING_SPLIT)


def _nothing(folder: Path) -> None:
    del folder


@dataclass(frozen=True)
class KeptSplit:
    """What is written beside a finished model, and only then.

    A training that is refused, diverges or is killed must not replace the split of the model
    that is there: what that one learnt from would pass for its test part.

    Attributes:
        files: Names of the files.
        write: Writes them into a folder.
    """

    files: frozenset[str] = frozenset()
    write: Callable[[Path], None] = _nothing

    def refuse_another(self, folder: Path) -> None:
        """Refuse a folder that holds files of a split which this one does not replace.

        Raises:
            DatasetError: There is such a file; it may be somebody's own.
        """
        for name in _EVERY_FILE:
            if name not in self.files and (folder / name).exists():
                raise DatasetError(
                    "this file is from another split, and this one has none in its place",
                    where=folder / name,
                    remedy="remove it, or name another folder with --out",
                )


NO_SPLIT = KeptSplit()
"""Of a training that was given its parts, and does not know where they are from."""


def split_of_pictures(parts: Splits) -> KeptSplit:
    """Return a split that is kept as COCO: ``train.json``, ``val.json``, ``test.json``."""
    given = zip(PARTS, (parts.train, parts.val, parts.test), strict=True)
    files = frozenset(f"{name}.json" for name, part in given if part.samples)
    return KeptSplit(files, lambda folder: write_splits(parts, folder))


def split_of_recordings(names: Mapping[str, Sequence[str]]) -> KeptSplit:
    """Return a split that is kept as the names of trips or series, by part."""
    text = msgspec.json.format(msgspec.json.encode(names)) + b"\n"
    return KeptSplit(
        frozenset((RECORDING_SPLIT,)), lambda folder: write_whole(folder / RECORDING_SPLIT, text)
    )
