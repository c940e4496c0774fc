"""A directory that appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgehaul.errors import DatasetError

PARTIAL = ".partial"
PARTIAL_MARK = ".edgehaul-partial"
"""Says that a leftover is ours and may be removed."""
_NO_LOCKS = frozenset({errno.EBADF, errno.ENOLCK, errno.ENOTSUP})
"""What file systems say that lock no folders, such as NFS; two processes at once are rare."""
_MANY = 500
"""More files than these are synced together: 70,000 would take a minute and a half one by one."""


@contextmanager
def new_directory(out: Path) -> Iterator[Path]:
    """Build a directory beside its place; it is put there once it is whole and on the disk.

    What a killed process left of an earlier attempt is removed first.

    Args:
        out: Where it will be; nothing, or an empty folder, is there.

    Yields:
        ``OUT.partial``, to write into.

    Raises:
        DatasetError: Something is there, another process builds it now, or it cannot be
            written; in all of these cases nothing of it is left.
    """
    refuse_filled(out)
    partial = out.with_name(out.name + PARTIAL)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        _remove_leftover(partial)
        partial.mkdir()
        (partial / PARTIAL_MARK).touch()
        with locked(partial):
            yield partial
            _put(partial, out)
    except OSError as error:
        _remove(partial)
        raise DatasetError(
            f"cannot be written: {(error.strerror or str(error)).lower()}",
            where=error.filename or out,
            remedy="check the path, its permissions and the free space, then run it again",
        ) from error
    except DatasetError as error:
        if not isinstance(error, _AnotherAtWorkError):
            _remove(partial)
        raise
    except BaseException:
        _remove(partial)
        raise


def refuse_filled(out: Path) -> None:
    """Raise an error if there is something where a directory is to be made.

    Raises:
        DatasetError: So it is, or the path ends in no name.
    """
    if out.name in {"", ".."}:
        raise DatasetError(
            "a new folder needs a name", where=out, remedy="give one, such as data/parcels"
        )
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise DatasetError(
            "this is no empty folder", where=out, remedy="give a new folder, or remove this one"
        )


class _AnotherAtWorkError(DatasetError):
    """The partial directory is not ours to remove."""


def _remove_leftover(partial: Path) -> None:
    if not partial.exists():
        return
    if not partial.is_dir() or (any(partial.iterdir()) and not (partial / PARTIAL_MARK).is_file()):
        raise _AnotherAtWorkError(
            "this is in the way, and not ours", where=partial, remedy="move it away"
        )
    with locked(partial):
        _remove(partial)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process, however it ends.

    Raises:
        DatasetError: Another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _AnotherAtWorkError(
                "another process writes this now", where=folder, remedy="wait for it to end"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(descriptor)


def _put(partial: Path, out: Path) -> None:
    """Wait until all is on the disk, then rename.

    The mark goes last: without it, what is left by a kill would be in the way of the next try.
    """
    paths = [partial, *partial.rglob("*")]
    if len(paths) > _MANY:
        os.sync()
    else:
        for path in paths:
            sync(path)
    partial.rename(out)
    (out / PARTIAL_MARK).unlink()
    sync(out)
    sync(out.absolute().parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
