"""Files that are there whole or not at all, also after a kill, a power cut or on a full disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to make a file at; it takes its place if nothing went wrong.

    For what other programs write. Its name is not durable before its folder is synced.

    Args:
        path: The file; its folder is made.

    Raises:
        OSError: It cannot be written; what was at ``path`` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # where it could not be made there is none
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write; it takes the place of ``path`` at the end, if nothing went wrong.

    Args:
        path: The file; its folder is made.

    Raises:
        OSError: It cannot be written; what was at ``path`` before is still there.
    """
    with made_whole(path) as partial, partial.open("wb") as stream:
        yield stream
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
    with tensors_at_hand(path, content):
        pass  # nothing else is to be done before they take their place


@contextlib.contextmanager
def tensors_at_hand(path: Path, content: object) -> Iterator[None]:
    """Write tensors beside ``path``; they take its place at the end, if nothing goes wrong.

    What must change together with them can be changed in between: no space is needed any more.

    Raises:
        OSError: They cannot be written; what was at ``path`` before is still there.
    """
    # Imported here: most who write a file, or read beside one, need not wait for torch.
    import torch  # noqa: PLC0415

    with written_whole(path) as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:
            # torch tells of its own confusion; the disk's answer stands behind it.
            cause = error.__context__
            if not isinstance(cause, OSError):
                raise
            raise OSError(cause.errno, cause.strerror, str(path)) from error
        stream.flush()
        os.fsync(stream.fileno())
        yield


def remove_durably(path: Path) -> None:
    """Remove a file, if there is one; it is gone after a power cut, too."""
    if path.exists():
        path.unlink()
        _make_names_durable(path.parent)


def _make_names_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
