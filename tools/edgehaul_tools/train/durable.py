"""Files that are there whole or not at all, also after a kill, a power cut or on a full disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import torch


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write; it takes the place of ``path`` at the end, if nothing went wrong.

    Args:
        path: The file; its folder is made.

    Raises:
        OSError: It cannot be written; what was at ``path`` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where it cannot be made there is none
            partial.unlink(missing_ok=True)
    _make_names_durable(path.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Make ``path`` hold ``content``; see :func:`written_whole`."""
    with written_whole(path) as stream:
        stream.write(content)


def save_tensors(path: Path, content: object) -> None:
    """Make ``path`` hold tensors and primitives, for ``torch.load(weights_only=True)``.

    Raises:
        OSError: They cannot be written; what was at ``path`` before is still there.
    """
    try:
        with written_whole(path) as stream:
            torch.save(content, stream)
    except RuntimeError as error:
        # torch tells of its own confusion; the disk's answer stands behind it.
        cause = error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from error


def _make_names_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
