"""The model that marks pictures: an ONNX file, or a model directory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError, SpecMismatchError
from edgehaul_tools.export.metadata import load_onnx
from edgehaul_tools.export.runtime import Run, runner
from edgehaul_tools.export.spec_choice import choose_spec

_DIRECTORY_FILE = "model.json"
_TASKS = ("detect", "classify")


@dataclass(frozen=True)
class Marker:
    """A model, ready to mark pictures.

    Attributes:
        name: Its name, which the tasks carry.
        spec: What goes in and comes out.
        spec_source: Where the spec is from.
        run: Runs it.
    """

    name: str
    spec: ModelSpec
    spec_source: str
    run: Run


class _Variant(msgspec.Struct, frozen=True):
    path: str
    sha256: str


class _Directory(msgspec.Struct, frozen=True):
    """What is needed of ``model.json``: the file that all variants were made of comes first."""

    name: str
    spec: ModelSpec
    variants: tuple[_Variant, ...]


def open_marker(path: Path, *, spec_file: Path | None = None, labels: Sequence[str] = ()) -> Marker:
    """Open a detector or classifier of pictures.

    Args:
        path: An ONNX file, or a model directory (its float model is taken).
        spec_file: A spec that wins over what the model says.
        labels: Names of the classes; they win, too.

    Raises:
        ModelError: It cannot be read, or is not the one that the directory names.
        SpecMismatchError: It is neither detector nor classifier, or its classes have no names.
    """
    file, name, known = path, path.stem, None
    if path.is_dir():
        file, name, known = _from_directory(path)
    model = load_onnx(file, weights=False)
    if known is not None and spec_file is None and not labels:
        spec, source = known, "the model directory"
    else:
        spec, source = choose_spec(model, where=file, file=spec_file, labels=labels)
    if not isinstance(spec.input, ImageInput) or spec.task not in _TASKS:
        raise SpecMismatchError(
            f"a model for {spec.task!r} marks no pictures",
            where=file,
            remedy="give a detector or a classifier",
        )
    if not spec.output.labels:
        raise SpecMismatchError(
            "the names of its classes are not known", where=file, remedy="give --labels FILE"
        )
    return Marker(name, spec, source, runner(file))


def _from_directory(folder: Path) -> tuple[Path, str, ModelSpec]:
    path = folder / _DIRECTORY_FILE
    try:
        directory = msgspec.json.decode(path.read_bytes(), type=_Directory)
    except (OSError, *UNREADABLE_JSON) as error:
        raise ModelError(
            f"this is no model directory: {error}",
            where=path,
            remedy="give an ONNX file, or the folder that `edgehaul quantize` makes",
        ) from error
    if not directory.variants:
        raise ModelError("it lists no model", where=path, remedy="run edgehaul quantize again")
    variant = directory.variants[0]
    file = folder / variant.path
    if file.is_file() and _sha256(file) != variant.sha256:
        raise ModelError(
            "this is not the file that model.json names",
            where=file,
            remedy="run edgehaul quantize again",
        )
    return file, directory.name, directory.spec


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
