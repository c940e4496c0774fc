"""The model directory: what quantize, verify and pack hand to each other."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import onnx

from edgehaul.bundle.manifest import Precision
from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError
from edgehaul.reporting import remedy_for_writing

DIRECTORY_NAME = "model.json"
REPORT_NAME = "quantize.json"
VERIFY_NAME = "verify.json"


class DirectoryVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model file of the directory."""

    name: str
    path: str
    precision: Precision
    sha256: str
    size_bytes: int


class ModelDirectory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in a model directory, as ``model.json`` says.

    Attributes:
        name: Name of the model.
        spec: Its input and output.
        spec_source: Where the spec is from: ``metadata``, ``file`` or the guess that was made.
        source_sha256: Of the ONNX file that was quantized.
        variants: The model files, fp32 first.
        calibration: The folder or video that it was calibrated on.
    """

    name: str
    spec: ModelSpec
    spec_source: str
    source_sha256: str
    variants: tuple[DirectoryVariant, ...]
    calibration: str = ""

    def variant(self, name: str) -> DirectoryVariant | None:
        """Return the variant called ``name``, or none."""
        return next((v for v in self.variants if v.name == name), None)


@contextmanager
def directory_to_write(out: Path) -> Iterator[None]:
    """Make a directory and try to write into it; where the work in it fails, it leaves again.

    Raises:
        ModelError: It cannot be made or written.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        _remove_empty(missing)
        raise ModelError(
            f"cannot write into this directory: {(error.strerror or str(error)).lower()}",
            where=out,
            remedy=remedy_for_writing(error),
        ) from error
    try:
        yield
    except BaseException:
        _remove_empty(missing)
        raise


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):  # something lies in it
        for folder in folders:
            folder.rmdir()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_model(model: onnx.ModelProto, path: Path) -> None:
    """Write a model file.

    Raises:
        ModelError: It cannot be written.
    """
    try:
        onnx.save(model, str(path))
    except OSError as error:
        raise ModelError(
            f"cannot write the model: {error.strerror or error}",
            where=path,
            remedy=remedy_for_writing(error),
        ) from error


def describe_variant(folder: Path, name: str, path: str, precision: Precision) -> DirectoryVariant:
    """Return the entry of a model file as it is now."""
    file = folder / path
    return DirectoryVariant(name, path, precision, sha256_of(file), file.stat().st_size)


def write_json(path: Path, value: msgspec.Struct) -> None:
    """Write a value as indented JSON, all of it or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    partial.replace(path)


def read_directory(folder: Path) -> ModelDirectory:
    """Read a model directory and check that its model files are those it was made of.

    Raises:
        ModelError: It is none, or a model file is missing or was changed.
    """
    path = folder / DIRECTORY_NAME
    try:
        directory = msgspec.json.decode(path.read_bytes(), type=ModelDirectory)
    except OSError as error:
        raise ModelError(
            "this is no model directory: it has no readable model.json",
            where=folder,
            remedy="make one with edgehaul quantize",
        ) from error
    except UNREADABLE_JSON as error:
        raise ModelError(
            f"unreadable: {error}", where=path, remedy="run edgehaul quantize again"
        ) from error
    for variant in directory.variants:
        file = folder / variant.path
        if not file.is_file():
            raise ModelError(
                "the model file is missing", where=file, remedy="run edgehaul quantize again"
            )
        if sha256_of(file) != variant.sha256:
            raise ModelError(
                "the model file was changed after it was quantized",
                where=file,
                remedy="run edgehaul quantize and verify again",
            )
    return directory
