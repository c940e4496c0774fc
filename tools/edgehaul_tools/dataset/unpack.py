"""Unpack the archives that labelling tools export, trusting nothing in them."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from edgehaul.errors import DatasetError

_TAR_ENDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MOST_ENTRIES = 5_000_000
_MOST_GROWTH = 100
"""An archive of pictures hardly shrinks them, and one of marks shrinks them some twenty-fold."""
_FREE_GROWTH_BYTES = 1 << 26
_CHUNK_BYTES = 1 << 20
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    ValueError,
)


class _Entry(NamedTuple):
    name: str
    is_folder: bool
    is_file: bool
    size_bytes: int
    content: IO[bytes] | None


def is_archive(source: Path) -> bool:
    """Return whether a file is called as an archive that can be unpacked."""
    name = source.name.casefold()
    return source.is_file() and (name.endswith(".zip") or name.endswith(_TAR_ENDS))


def archived_names(archive: Path) -> Generator[str, None, None]:
    """Yield the names of the files in an archive, but those that :func:`unpack` passes over.

    Raises:
        DatasetError: The archive is damaged or encrypted.
    """
    try:
        with _entries(archive) as entries:
            for entry in entries:
                if not entry.is_folder and not _is_hidden(PurePosixPath(entry.name)):
                    yield entry.name
    except _DAMAGE as error:
        raise _unreadable(archive, error) from error


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack an archive into a new folder and return the folder that holds the dataset.

    Hidden files and those of macOS are passed over.

    Raises:
        DatasetError: The archive is damaged or encrypted, holds links or names outside
            itself, or would grow without measure.
    """
    folder.mkdir()
    try:
        left = archive.stat().st_size * _MOST_GROWTH + _FREE_GROWTH_BYTES
        with _entries(archive) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST_ENTRIES:
                    raise _refused(archive, f"it has more than {_MOST_ENTRIES} entries")
                left -= entry.size_bytes
                if left < 0:
                    raise _refused(archive, f"it grows to more than {_MOST_GROWTH} times its size")
                _write(entry, folder, archive)
    except _DAMAGE as error:
        raise _unreadable(archive, error) from error
    return _top(folder)


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[_Entry]]:
    if archive.name.casefold().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_entries(packed, archive)
    else:
        with tarfile.open(archive, "r:*") as bundled:
            yield _tar_entries(bundled)


def _zip_entries(packed: zipfile.ZipFile, archive: Path) -> Iterator[_Entry]:
    for info in packed.infolist():
        if info.flag_bits & 1:
            raise _refused(archive, "it is encrypted")
        kind = info.external_attr >> 28  # the upper bits of what Unix calls the mode
        is_file = kind in {0, 8} and not info.is_dir()
        with packed.open(info) as content:
            yield _Entry(info.filename, info.is_dir(), is_file, info.file_size, content)


def _tar_entries(bundled: tarfile.TarFile) -> Iterator[_Entry]:
    for member in bundled:
        content = bundled.extractfile(member) if member.isfile() else None
        yield _Entry(member.name, member.isdir(), member.isfile(), member.size, content)


def _write(entry: _Entry, folder: Path, archive: Path) -> None:
    name = PurePosixPath(entry.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or "\0" in entry.name:
        raise _refused(archive, f"the name {entry.name!r} is outside of it")
    if _is_hidden(name):
        return
    target = folder / name
    if entry.is_folder:
        target.mkdir(parents=True, exist_ok=True)
        return
    if not entry.is_file or entry.content is None:
        raise _refused(archive, f"{entry.name!r} is a link or a device")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as stream:
            shutil.copyfileobj(entry.content, stream, _CHUNK_BYTES)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(archive, f"{entry.name!r} is in it twice") from error


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def _unreadable(archive: Path, error: Exception) -> DatasetError:
    return DatasetError(
        f"this archive cannot be read: {error}", where=archive, remedy="export it again"
    )


def _top(folder: Path) -> Path:
    """Return the folder of the dataset: archives often hold one folder with all of it."""
    while True:
        held = list(folder.iterdir())
        if len(held) != 1 or not held[0].is_dir():
            return folder
        if not any(item.is_dir() or item.suffix in {".json", ".xml"} for item in held[0].iterdir()):
            return folder
        folder = held[0]


def _refused(archive: Path, reason: str) -> DatasetError:
    return DatasetError(
        f"this archive is refused: {reason}", where=archive, remedy="export or pack it again"
    )
