"""The files of a spool: one owner at a time, and a damaged one moved out of the way."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from edgehaul.errors import SpoolError


def take_lock(folder: Path) -> IO[str]:
    """Make this process the owner of the spool until the returned file is closed.

    Raises:
        SpoolError: Another process owns it.
        OSError: The folder cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SpoolError(
            "another agent uses this spool",
            where=folder,
            remedy="stop it, or give this device a root of its own",
        ) from None
    return lock


def set_aside(path: Path) -> Path:
    """Rename a damaged database with all its parts; nothing of it is deleted.

    Returns:
        Its new name, ``spool.damaged-N.db`` for ``spool.db``.
    """
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    for part in ("", "-wal", "-shm"):
        old = path.with_name(path.name + part)
        if old.exists():
            old.rename(aside.with_name(aside.name + part))
    return aside
