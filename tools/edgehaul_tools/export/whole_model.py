"""A model that other programs write, and that is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """Give a path beside ``path`` to make a file at; it takes its place if nothing went wrong.

    Its name is not durable before its folder is synced.

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
