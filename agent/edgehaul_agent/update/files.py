"""Writes that survive a power cut: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class DurableFiles(Protocol):
    """What the store needs of a file system; fault tests inject one that fails or dies."""

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Make ``path`` hold ``chunks``, durably: all of it or, after a power cut, the old one."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make ``path`` and its parents, durably."""
        ...

    def remove_tree(self, path: Path) -> None:
        """Remove ``path`` and all below it, if it is there."""
        ...


class SystemFiles:
    """The machine's own file system."""

    def write(self, path: Path, chunks: Iterable[bytes]) -> None:
        """Make ``path`` hold ``chunks``, durably: all of it or, after a power cut, the old one."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as stream:
            stream.writelines(chunks)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        sync_folder(path.parent)

    def make_folder(self, path: Path) -> None:
        """Make ``path`` and its parents, durably."""
        missing = [p for p in (path, *path.parents) if not p.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for made in missing:
            sync_folder(made.parent)

    def remove_tree(self, path: Path) -> None:
        """Remove ``path`` and all below it, if it is there."""
        if path.exists():
            shutil.rmtree(path)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable; a file's own fsync does not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of a file durable that something else has written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
