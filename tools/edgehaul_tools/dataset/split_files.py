"""The files of a split: ``train.json``, ``val.json`` and ``test.json``, never of two splits.

New ones are written beside those that are there. Once all are on the disk a mark is set, they
take their places one by one, and the mark is removed. Whoever finds the mark goes on from
there, so that a killed process leaves the split before or the new one, and no mixture: what
one split tests on may have been learnt from in another.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.new_directory import PARTIAL, locked, sync
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.samples import Part

SPLIT_MARK = ".edgehaul-split"
"""Says that all new files are complete, and that some may have taken their places."""


def split_file(folder: Path, part: Part) -> Path:
    """Return the file of a part."""
    return folder / f"{part}.json"


def write_split_files(contents: Mapping[Part, bytes], folder: Path) -> None:
    """Replace all files of a split, or none of them.

    Args:
        contents: What is to be in the file of each part.
        folder: Where they are; it is made if it is missing.

    Raises:
        DatasetError: They cannot be written, or another process writes here now; in both cases
            the split that was there is still there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _finish(folder)
            _prepare(contents, folder)
            _finish(folder)
    except OSError as error:
        raise DatasetError(
            f"cannot be written: {(error.strerror or str(error)).lower()}",
            where=error.filename or folder,
            remedy="check the path, its permissions and the free space, then run it again",
        ) from error


def finish_split_files(folder: Path) -> None:
    """Do what is left to do where the writing of a split was cut short; mostly nothing.

    Raises:
        DatasetError: It cannot be done, or another process is at it.
    """
    if not (folder / SPLIT_MARK).exists():
        return
    try:
        with locked(folder):
            _finish(folder)
    except OSError as error:
        raise DatasetError(
            "files of two splits are here, as the writing of one was cut short, and it cannot "
            f"be ended: {(error.strerror or str(error)).lower()}",
            where=error.filename or folder,
            remedy="make the folder writable and free of what is in the way, then run it again",
        ) from error


def _prepare(contents: Mapping[Part, bytes], folder: Path) -> None:
    """Write the new files beside the others, and the mark once all are on the disk."""
    # Of a process that was killed before it came to the mark.
    _remove_partials(folder)
    try:
        for part, content in contents.items():
            with _partial(folder, part).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        sync(folder)
        (folder / SPLIT_MARK).touch()
        sync(folder)
    except BaseException:
        # The mark first: with it, those that are not removed yet would be taken for complete.
        (folder / SPLIT_MARK).unlink(missing_ok=True)
        _remove_partials(folder)
        raise


def _finish(folder: Path) -> None:
    if not (folder / SPLIT_MARK).exists():
        return
    for part in PARTS:
        partial = _partial(folder, part)
        if partial.exists():
            partial.replace(split_file(folder, part))
    sync(folder)
    (folder / SPLIT_MARK).unlink()
    sync(folder)


def _remove_partials(folder: Path) -> None:
    for part in PARTS:
        _partial(folder, part).unlink(missing_ok=True)


def _partial(folder: Path, part: Part) -> Path:
    file = split_file(folder, part)
    return file.with_name(file.name + PARTIAL)
