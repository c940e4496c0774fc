"""The spec inside an ONNX file: whoever finds the file knows how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError, SpecMismatchError

SPEC_KEY = "edgehaul.spec"


def read_metadata(path: Path) -> dict[str, str]:
    """Return all metadata of an ONNX file, by key.

    Raises:
        ModelError: The file is missing or no ONNX model.
    """
    return {entry.key: entry.value for entry in load_onnx(path, weights=False).metadata_props}


def read_spec(path: Path) -> ModelSpec | None:
    """Return the spec that an ONNX file carries, or ``None`` where it carries none.

    Raises:
        ModelError: The file is missing or no ONNX model.
        SpecMismatchError: It carries a spec that this version cannot read.
    """
    text = read_metadata(path).get(SPEC_KEY)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=ModelSpec)
    except UNREADABLE_JSON as error:
        raise SpecMismatchError(
            f"its {SPEC_KEY!r} cannot be read: {error}",
            where=path,
            remedy="give the spec yourself with --spec FILE.yaml",
        ) from error


def write_spec(path: Path, spec: ModelSpec, more: Mapping[str, str] | None = None) -> None:
    """Put ``spec`` into an ONNX file, replacing the one that is there.

    Args:
        path: The file.
        spec: What goes in and comes out.
        more: Other metadata, by key.

    Raises:
        ModelError: The file is missing or no ONNX model.
    """
    model = load_onnx(path, weights=True)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    kept |= {SPEC_KEY: msgspec.json.encode(spec).decode(), **(more or {})}
    onnx.helper.set_model_props(model, kept)
    onnx.save(model, path)


def load_onnx(path: Path, *, weights: bool) -> onnx.ModelProto:
    """Read an ONNX file.

    Args:
        path: The file.
        weights: Whether weights in files beside it are read, too.

    Raises:
        ModelError: The file is missing or no ONNX model.
    """
    try:
        model = onnx.load(path, load_external_data=weights)
    except FileNotFoundError:
        raise ModelError(
            "there is no such file", where=path, remedy="check the path of the model"
        ) from None
    except (OSError, DecodeError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"this is no ONNX model: {error}", where=path, remedy="export it again"
        ) from error
    if not model.graph.node:
        raise ModelError("this model holds no graph", where=path, remedy="export it again")
    return model
