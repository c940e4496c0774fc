"""Weights in a file beside the model: only there, only as far as the file goes."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import external_data_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import first_line
from edgehaul_tools.quantize.tensors import shown, tensors_of

_REMEDY = "put the file with the external data beside the model, as it was exported"


def external_bytes(model: onnx.ModelProto, path: Path) -> int:
    """Return how many bytes of weights lie in other files, without reading them.

    Args:
        model: The model, parsed.
        path: Its file.

    Raises:
        ModelError: Such a file lies elsewhere than in the model's folder, is missing or no
            regular file, or ends before the weights do.
    """
    return sum(
        _bytes_of(tensor, path)
        for tensor in tensors_of(model)
        if external_data_helper.uses_external_data(tensor)
    )


def load_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Read the weights that lie in other files into ``model``.

    :func:`external_bytes` has checked them; they are read by the onnx package.

    Raises:
        ModelError: They cannot be read.
    """
    try:
        for tensor in tensors_of(model):
            if external_data_helper.uses_external_data(tensor):
                external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"its weights lie in another file, which cannot be read: {first_line(error)}",
            where=path,
            remedy=_REMEDY,
        ) from error


def _bytes_of(tensor: onnx.TensorProto, path: Path) -> int:
    said = {entry.key: entry.value for entry in tensor.external_data}
    file = _file_beside(said.get("location", ""), path)
    try:
        status = file.stat()
        offset = int(said.get("offset", 0))
        length = int(said.get("length", max(0, status.st_size - offset)))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ModelError(
            f"its weights lie in another file, which cannot be read: {file.name}: {reason}",
            where=path,
            remedy=_REMEDY,
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(
            f"its weights lie in {shown(file.name)}, which is no regular file",
            where=path,
            remedy=_REMEDY,
        )
    if min(offset, length) < 0 or offset + length > status.st_size:
        raise ModelError(
            f"its weights lie in another file, which is truncated: {file.name} has "
            f"{status.st_size} bytes, and {shown(tensor.name)} is said to lie at {offset} to "
            f"{offset + length}",
            where=path,
            remedy="copy or download that file again",
        )
    return length


def _file_beside(location: str, path: Path) -> Path:
    """Return where ``location`` points to, which must be within the model's folder."""
    folder = path.parent
    parts = (*PurePosixPath(location).parts, *PureWindowsPath(location).parts)
    is_absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive
    try:
        # Links are followed, so that one within the folder cannot lead out of it either.
        inside = (folder / location).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a zero byte in the name
        inside = False
    if not location or is_absolute or ".." in parts or not inside:
        raise ModelError(
            f"its weights are said to lie in {shown(location)}, outside the model's folder",
            where=path,
            remedy="copy that file itself beside the model and export the model again",
        )
    return folder / location
