"""Bundles as deterministic tar files, read without trusting a single byte.

A bundle is a plain ustar archive (POSIX.1-1988) that any ``tar`` lists: first
``manifest.json``, then ``manifest.sha256``, then every file of the manifest in its order.
All header fields are fixed, so each byte of the archive follows from the manifest and the
files. The reader uses that: it rebuilds what must be there and compares, so one changed
byte anywhere (content, header or padding) is refused, and nothing larger than the manifest
says is ever written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from edgehaul.bundle.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from edgehaul.errors import BundleError, BundleIntegrityError
from edgehaul.reporting import remedy_for_writing

BUNDLE_SUFFIX = ".edgehaul"
DIGEST_NAME = "manifest.sha256"
MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 32

_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 1 << 20
_REMEDY = "copy or pack it again"

Content = bytes | Path
"""A file's content, or where to read it."""


def file_entry(path: str, content: Content) -> FileEntry:
    """Return the manifest's entry for a file that is to be packed under ``path``."""
    digest = hashlib.sha256()
    size = 0
    for chunk in _chunks_of(content):
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(path=path, sha256=digest.hexdigest(), size_bytes=size)


def file_entries(files: Mapping[str, Content]) -> tuple[FileEntry, ...]:
    """Return the manifest's entries for ``files``, sorted by path as the manifest wants them."""
    return tuple(file_entry(path, files[path]) for path in sorted(files))


def write_bundle(out: Path, manifest: Manifest, files: Mapping[str, Content]) -> None:
    """Write a bundle; the same manifest and files give the same bytes.

    Args:
        out: The bundle file; it appears whole or not at all.
        manifest: Its ``files`` must describe ``files``.
        files: Content for each path of the manifest.

    Raises:
        BundleError: The files are not the ones of the manifest, or ``out`` is not writable.
    """
    listed = {entry.path for entry in manifest.files}
    if listed != set(files):
        odd = min(listed ^ set(files))
        raise BundleError(f"{odd!r} is not both in the manifest and in the files", where=out)
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            _write_archive(stream, manifest, files)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(out)
    except OSError as error:
        raise BundleError(
            f"cannot write the bundle: {error.strerror}",
            where=out,
            remedy=remedy_for_writing(error),
        ) from error
    finally:
        with contextlib.suppress(OSError):  # where it cannot be made there is none
            partial.unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest:
    """Return a bundle's manifest, its digest checked; the files behind it are not read.

    Raises:
        BundleError: It is no bundle.
        BundleIntegrityError: The manifest is not the one that was packed.
    """
    with BundleReader(path) as reader:
        return reader.manifest


def verify_bundle(path: Path) -> Manifest:
    """Read a whole bundle and return its manifest if every byte is as packed.

    Raises:
        BundleError: It is no bundle.
        BundleIntegrityError: Some byte is not the one that was packed.
    """
    with BundleReader(path) as reader:
        for _, chunks in reader.files():
            for _ in chunks:
                pass
        return reader.manifest


class BundleReader:
    """Reads a bundle once, front to back, checking as it goes.

    Args:
        path: The bundle file.

    Attributes:
        manifest: The verified manifest.
        manifest_content: Its bytes as packed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        try:
            self._stream: BinaryIO = path.open("rb")
            self._size = os.fstat(self._stream.fileno()).st_size
        except OSError as error:
            raise BundleError(
                f"cannot open the bundle: {error.strerror}", where=path, remedy="check the path"
            ) from error
        try:
            self.manifest_content, self.manifest = self._read_manifest()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._stream.close()

    def files(self) -> Iterator[tuple[FileEntry, Iterator[bytes]]]:
        """Yield each file's entry and its content in chunks, in the manifest's order.

        A file is good only once its chunks are exhausted without an error; they must be
        exhausted before the next file is asked for. The end of the archive is checked
        after the last one.

        Raises:
            BundleIntegrityError: Some byte is not the one that was packed.
        """
        for entry in self.manifest.files:
            self._expect(_header(entry.path, entry.size_bytes), f"header of {entry.path}")
            yield entry, self._content(entry)
        self._expect(bytes(2 * _BLOCK), "end of the archive")
        if self._position != self._size:
            raise self._broken("bytes follow the end of the archive")

    def _read_manifest(self) -> tuple[bytes, Manifest]:
        header = self._stream.read(_BLOCK)
        self._position += len(header)
        size = _size_in_manifest_header(header)
        if size is None:
            raise BundleError(
                "this is no EdgeHaul bundle", where=self._path, remedy="make one with edgehaul pack"
            )
        content = self._read(size, MANIFEST_NAME)
        self._expect(bytes(_padding(size)), f"padding of {MANIFEST_NAME}")
        digest = _digest_line(content)
        self._expect(_header(DIGEST_NAME, len(digest)), f"header of {DIGEST_NAME}")
        self._expect(digest + bytes(_padding(len(digest))), f"digest of {MANIFEST_NAME}")
        manifest = decode_manifest(content, where=str(self._path))
        expected = self._position + _archived_size(manifest)
        if self._size != expected:
            cause = "truncated" if self._size < expected else "longer than packed"
            raise self._broken(f"{cause}: {self._size} bytes instead of {expected}")
        return content, manifest

    def _content(self, entry: FileEntry) -> Iterator[bytes]:
        digest = hashlib.sha256()
        left = entry.size_bytes
        while left:
            chunk = self._read(min(left, _CHUNK_BYTES), entry.path)
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        self._expect(bytes(_padding(entry.size_bytes)), f"padding of {entry.path}")
        if digest.hexdigest() != entry.sha256:
            raise self._broken(f"the content of {entry.path} is not what was packed")

    def _read(self, size: int, part: str) -> bytes:
        content = self._stream.read(size)
        self._position += len(content)
        if len(content) != size:
            raise self._broken(f"truncated within {part}")
        return content

    def _expect(self, expected: bytes, part: str) -> None:
        if self._read(len(expected), part) != expected:
            raise self._broken(f"the {part} is not what was packed")

    def _broken(self, message: str) -> BundleIntegrityError:
        return BundleIntegrityError(message, where=self._path, remedy=_REMEDY)


def _write_archive(stream: BinaryIO, manifest: Manifest, files: Mapping[str, Content]) -> None:
    content = encode_manifest(manifest)
    if len(content) > MAX_MANIFEST_BYTES:
        raise BundleError(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    digest_line = _digest_line(content)
    stream.write(_header(MANIFEST_NAME, len(content)) + content + bytes(_padding(len(content))))
    stream.write(_header(DIGEST_NAME, len(digest_line)) + digest_line)
    stream.write(bytes(_padding(len(digest_line))))
    for entry in manifest.files:
        stream.write(_header(entry.path, entry.size_bytes))
        digest = hashlib.sha256()
        for chunk in _chunks_of(files[entry.path]):
            digest.update(chunk)
            stream.write(chunk)
        if digest.hexdigest() != entry.sha256:
            raise BundleError(
                "the file changed while it was packed", where=entry.path, remedy="pack again"
            )
        stream.write(bytes(_padding(entry.size_bytes)))
    stream.write(bytes(2 * _BLOCK))


def _chunks_of(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


def _header(path: str, size_bytes: int) -> bytes:
    if size_bytes >= MAX_FILE_BYTES:
        raise BundleError(f"files must be smaller than {MAX_FILE_BYTES} bytes", where=path)
    info = tarfile.TarInfo(path)
    info.size = size_bytes
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK


def _digest_line(content: bytes) -> bytes:
    """Return the line that ``sha256sum --check`` reads."""
    return f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_NAME}\n".encode()


def _archived_size(manifest: Manifest) -> int:
    blocks = sum(_BLOCK + e.size_bytes + _padding(e.size_bytes) for e in manifest.files)
    return blocks + 2 * _BLOCK


def _size_in_manifest_header(header: bytes) -> int | None:
    """Return the manifest's size if ``header`` is exactly the one we write, else None."""
    if len(header) != _BLOCK:
        return None
    try:
        size = tarfile.TarInfo.frombuf(header, "ascii", "strict").size
    except (tarfile.HeaderError, UnicodeDecodeError):
        return None
    if not 0 < size <= MAX_MANIFEST_BYTES or _header(MANIFEST_NAME, size) != header:
        return None
    return size
