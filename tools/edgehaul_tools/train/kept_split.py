"""The split that a run directory keeps: what was learnt from, and what nothing has looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.manifest import SPLIT_FILE
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.samples import Part
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.split import Splits, write_splits
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.train.durable import write_whole

_EVERY_FILE = (*(f"{part}.json" for part in PARTS), SPLIT_FILE)


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


class RecordingSplit(msgspec.Struct, frozen=True):
    """What ``split.json`` holds.

    Attributes:
        train: Names of the trips or series that were learnt from.
        val: Of those that were measured on meanwhile.
        test: Of those that nothing has looked at.
        sha256: Of what each one holds, by name: another dataset may have the same names.
    """

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    sha256: dict[str, str] = {}

    def holds(self, part: Part, name: str, digest: str) -> bool:
        """Return whether a recording is of a part.

        Args:
            part: The part.
            name: Of the recording.
            digest: From :func:`recording_digest`.
        """
        named: tuple[str, ...] = getattr(self, part)
        return name in named and self.sha256.get(name, digest) == digest


def recording_digest(recording: LabelledTrace | Series) -> str:
    """Return the SHA-256 of what was recorded; labels, which may be corrected, left out."""
    if isinstance(recording, LabelledTrace):
        return sha256(msgspec.json.encode(recording.fixes)).hexdigest()
    return sha256(recording.time_s.tobytes() + recording.values.tobytes()).hexdigest()


def split_of_recordings(parts: Sequence[Sequence[LabelledTrace | Series]]) -> KeptSplit:
    """Return the split of trips or series: train, val and test."""
    train, val, test = (tuple(one.name for one in part) for part in parts)
    marks = {one.name: recording_digest(one) for part in parts for one in part}
    text = msgspec.json.format(msgspec.json.encode(RecordingSplit(train, val, test, marks))) + b"\n"
    return KeptSplit(
        frozenset((SPLIT_FILE,)), lambda folder: write_whole(folder / SPLIT_FILE, text)
    )
