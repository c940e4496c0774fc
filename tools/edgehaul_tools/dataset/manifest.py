"""The manifest of a dataset directory: what is in it, whose it is, and every file's hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import msgspec

from edgehaul import __version__
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.coco_files import MANIFEST_FILE

SCHEMA_VERSION = 1
SPLIT_FILE = "split.json"
"""Names the trips of each part. It may be made, and made anew, beside the manifest."""


class FileRecord(msgspec.Struct, frozen=True):
    """One file, its path relative to the dataset directory."""

    path: str
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        """Refuse paths that leave the directory."""
        path = PurePosixPath(self.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"{self.path!r} is no path below the dataset")


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What ``dataset.json`` says.

    Attributes:
        schema: Version of this form.
        name: Name of the dataset.
        version: Version of its content.
        licence: Licence of the pictures, traces and marks (SPDX name where there is one).
        origin: Where it is from.
        created_at: When this directory was made, RFC 3339.
        tool: What made it.
        form: Form of the source.
        task: What the labels are for.
        labels: Names of the classes by id.
        counts: Number of pictures, trips or series by part; ``undivided`` where the source
            gives none.
        objects: Number of marks by class.
        files: All other files, by path.
        digest: SHA-256 of all of this but ``created_at`` and ``tool``: the same source makes
            the same digest.
    """

    schema: int = SCHEMA_VERSION
    name: str
    version: str
    licence: str = ""
    origin: str = ""
    created_at: str = ""
    tool: str = f"edgehaul {__version__}"
    form: str
    task: Literal["detect", "classify", "trips", "series"]
    labels: tuple[str, ...]
    counts: dict[str, int]
    objects: dict[str, int]
    files: tuple[FileRecord, ...]
    digest: str = ""


@dataclass(frozen=True)
class ManifestFaults:
    """How a dataset directory differs from its manifest; paths are relative to it.

    Attributes:
        missing: Files that are gone.
        altered: Files whose content is another one; the manifest itself among them.
        extra: Files that it does not list.
    """

    missing: tuple[str, ...]
    altered: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.altered or self.extra)


def sealed(manifest: DatasetManifest) -> DatasetManifest:
    """Return the manifest with its digest."""
    return msgspec.structs.replace(manifest, digest=_digest(manifest))


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """Write ``dataset.json`` into a dataset directory."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    (folder / MANIFEST_FILE).write_bytes(text + b"\n")


def has_manifest(folder: Path) -> bool:
    """Return whether a folder is a dataset directory."""
    return (folder / MANIFEST_FILE).is_file()


def read_manifest(folder: Path) -> DatasetManifest:
    """Read ``dataset.json``.

    Raises:
        DatasetError: There is none, or it cannot be read.
    """
    path = folder / MANIFEST_FILE
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=DatasetManifest)
    except (OSError, *UNREADABLE_JSON) as error:
        raise DatasetError(
            f"this is no manifest of a dataset: {error}",
            where=path,
            remedy="make the directory again with `edgehaul data import`",
        ) from error
    if manifest.schema != SCHEMA_VERSION:
        raise DatasetError(
            f"schema {manifest.schema} is unknown; this version reads {SCHEMA_VERSION}",
            where=path,
            remedy="update edgehaul, or import the dataset again",
        )
    return manifest


def verify_manifest(folder: Path) -> ManifestFaults:
    """Compare a dataset directory with its manifest, every byte of it.

    Raises:
        DatasetError: There is no manifest, or it cannot be read.
    """
    manifest = read_manifest(folder)
    listed = {record.path: record for record in manifest.files}
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }
    altered = [
        path
        for path in sorted(listed.keys() & there)
        if not _is_as_listed(folder / path, listed[path])
    ]
    if manifest.digest != _digest(manifest):
        altered.append(MANIFEST_FILE)
    return ManifestFaults(
        missing=tuple(sorted(listed.keys() - there)),
        altered=tuple(altered),
        extra=tuple(sorted(there - listed.keys() - {MANIFEST_FILE, SPLIT_FILE})),
    )


def file_record(folder: Path, path: Path) -> FileRecord:
    """Return the record of a file as it is now."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    return FileRecord(path.relative_to(folder).as_posix(), digest, size)


def _is_as_listed(path: Path, record: FileRecord) -> bool:
    if not path.is_file() or path.stat().st_size != record.size_bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == record.sha256


def _digest(manifest: DatasetManifest) -> str:
    plain = msgspec.structs.replace(manifest, created_at="", tool="", digest="")
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()
