"""Reading an ONNX file without trust: what it is, where its weights lie, and what it costs."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NoReturn

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs
from onnx import inliner

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import first_line
from edgehaul_tools.quantize.external_data import external_bytes, load_external_data
from edgehaul_tools.quantize.refusals import refuse_unusable

MAX_MODEL_BYTES = 2_000_000_000
"""A protobuf message holds no more than 2 GB, and no box has the memory to run such a model."""

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "a zip archive, as PyTorch's .pt and .pth files are"),
    (0, b"\x80\x02", "a Python pickle, as PyTorch's older .pt and .pth files are"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in ONNX Runtime's own format"),
    (0, b"\x89HDF", "an HDF5 file, as Keras writes them"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer: run git lfs pull"),
    (0, b"<", "an HTML or XML page: a download that failed, or OpenVINO's format"),
    (0, b"{", "JSON text"),
)
"""What people take for an ONNX file: offset, bytes there, and its name."""


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, weights beside it included, and refuse what cannot be quantized.

    Local functions are put in place of their calls.

    Raises:
        ModelError: It is no ONNX file, is truncated, too large, already quantized, or holds
            what the tools do not know. :func:`tried` does the same in a limited process.
    """
    return with_weights(parse_model(path), path)


def parse_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without the weights that lie beside it.

    Raises:
        ModelError: It is no ONNX file, is truncated, or is too large with its external data.
    """
    size = size_of(path)
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        _refuse_unreadable(path, error)
    if not content:
        raise ModelError(
            "this is no ONNX file: it is empty",
            where=path,
            remedy="export or download the model again",
        )
    try:
        # Not `onnx.load`: it reads another format where the file's name ends in .json or .txt.
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelError(
            f"this is no ONNX file{_known_as(content)}, or it is truncated or damaged",
            where=path,
            remedy="export or download the model again",
        ) from error
    beside = external_bytes(model, path)
    if size + beside > MAX_MODEL_BYTES:
        raise ModelError(
            f"the model is larger than 2 GB ({(size + beside) / 1e9:.1f} GB with its external "
            "data)",
            where=path,
            remedy="use a smaller model",
        )
    return model


def with_weights(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return a parsed model with its external data, local functions inlined.

    Raises:
        ModelError: Its weights cannot be read, or it cannot be quantized.
    """
    load_external_data(model, path)
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"its local functions cannot be inlined: {first_line(error)}",
                where=path,
                remedy="export it again without local functions",
            ) from error
    refuse_unusable(model, path)
    return model


def size_of(path: Path) -> int:
    """Return the size of a model file in bytes.

    Raises:
        ModelError: There is none, it is no regular file, or it is larger than 2 GB.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        _refuse_unreadable(path, error)
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise ModelError(
            f"this is {kind}, no ONNX file", where=path, remedy="give the .onnx file itself"
        )
    if status.st_size > MAX_MODEL_BYTES:
        raise ModelError(
            f"the model is larger than 2 GB ({status.st_size / 1e9:.1f} GB)",
            where=path,
            remedy="use a smaller model",
        )
    return status.st_size


def _refuse_unreadable(path: Path, error: OSError | ValueError) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else error
    raise ModelError(
        f"cannot read the model: {reason or error}",
        where=path,
        remedy="check the path and the file's permissions",
    ) from error


def _known_as(content: bytes) -> str:
    names = (
        name for offset, magic, name in _MAGIC if content[offset : offset + len(magic)] == magic
    )
    found = next(names, "")
    return f" but {found}" if found else ""
