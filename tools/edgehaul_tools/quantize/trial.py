"""The trial of a model, in a process of its own: ``python -m edgehaul_tools.quantize.trial``.

Parsing, folding, inferring and running all trust the file. Here they may hang, fill the memory
or crash: :func:`edgehaul_tools.quantize.contained.tried` starts this process and reads what
became of it.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]  # has no stubs
from onnx import TensorProto

from edgehaul.bundle.spec import ModelSpec
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError, SpecMismatchError
from edgehaul_tools.export.metadata import SPEC_KEY
from edgehaul_tools.export.runtime import ORT_ERRORS, first_line, open_model
from edgehaul_tools.quantize.external_data import external_bytes
from edgehaul_tools.quantize.graph import MINIMUM_OPSET, clean
from edgehaul_tools.quantize.half_precision import is_half
from edgehaul_tools.quantize.limits import Limits, allow_for, confine
from edgehaul_tools.quantize.loading import parse_model, size_of, with_weights

OUTCOME_NAME = "outcome.json"
HEADER_NAME = "header.onnx"
MODEL_NAME = "model.onnx"

_MOST_ELEMENTS = 1 << 30
_NO_MEMORY = ("bad_alloc", "bad allocation", "allocate memory", "cannot allocate")
_NODE_FAILS = re.compile(
    r"while running (\w+) node\..*?Status Message: (?:\S+\.(?:cc|h)(?::\d+)? )?([^\n]*)"
)


class Job(msgspec.Struct, frozen=True):
    """How to try a model.

    Attributes:
        limits: What the trial may take.
        shape: Of the input, by the spec that the user gave; takes the place of free dimensions.
    """

    limits: Limits
    shape: tuple[int, ...] | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        message: What is wrong; empty where nothing is.
        remedy: What to do about it.
        is_mismatch: Whether the model contradicts its spec.
        out_of_memory: Whether the memory did not suffice.
        notes: What was changed in the model, for the user.
    """

    message: str = ""
    remedy: str = ""
    is_mismatch: bool = False
    out_of_memory: bool = False
    notes: tuple[str, ...] = ()


def try_model(path: Path, folder: Path, job: Job) -> Outcome:
    """Read, clean and run a model once; write its header and the cleaned model.

    Args:
        path: The model.
        folder: Where the header and the cleaned model are written.
        job: How.

    Raises:
        ModelError: The model cannot be used, or the results cannot be written.
        MemoryError: It asks for more memory than the limit.
    """
    source = parse_model(path)
    allow_for(job.limits, size_of(path) + external_bytes(source, path))
    source = with_weights(source, path)
    notes = _changes_in(source)
    header = _header_of(source)
    fix_free_dimensions(source, job.shape or _own_shape(source))
    model = clean(source, where=path)
    del source
    notes += _run_once(model, path)
    for made, name in ((header, HEADER_NAME), (model, MODEL_NAME)):
        _write(made, folder / name, path)
    return Outcome(notes=notes)


def fix_free_dimensions(model: onnx.ModelProto, shape: Sequence[int] | None) -> None:
    """Give the free dimensions of the input the sizes of ``shape``; the batch stays free.

    Args:
        model: The model, changed in place.
        shape: Of the whole input tensor, or none.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    value = next(v for v in model.graph.input if v.name not in weights)
    dims = value.type.tensor_type.shape.dim
    if shape is None or len(shape) != len(dims):
        return
    free = [i for i in range(1, len(dims)) if not dims[i].dim_value]
    for index in free:
        dims[index].dim_value = shape[index]
    if free:
        # What was inferred for free sizes is inferred again for these.
        del model.graph.value_info[:]


def main(arguments: Sequence[str]) -> int:
    """Try a model and write the outcome.

    Args:
        arguments: The model, the folder for what is written, and a :class:`Job` in JSON. (The
            paths stand alone, since a name of a file need not be UTF-8.)
    """
    path, folder = map(Path, arguments[:2])
    job = msgspec.json.decode(arguments[2], type=Job)
    confine(job.limits)
    try:
        outcome = try_model(path, folder, job)
    except ModelError as error:
        outcome = Outcome(
            message=error.message,
            remedy=error.remedy,
            is_mismatch=isinstance(error, SpecMismatchError),
            out_of_memory=any(text in f"{error} {error.__cause__}" for text in _NO_MEMORY),
        )
    except (MemoryError, EncodeError):  # protobuf says no more than that it failed
        outcome = Outcome(message="memory", out_of_memory=True)
    (folder / OUTCOME_NAME).write_bytes(msgspec.json.encode(outcome))
    return 0


def _changes_in(source: onnx.ModelProto) -> tuple[str, ...]:
    version = max((e.version for e in source.opset_import if not e.domain), default=1)
    notes = []
    if version < MINIMUM_OPSET:
        notes.append(f"opset {version} raised to {MINIMUM_OPSET}")
    if is_half(source):
        notes.append("fp16 made fp32: the weights are the same, the answers are more exact")
    return tuple(notes)


def _header_of(source: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model's metadata, inputs and outputs, without nodes and weights."""
    header = onnx.ModelProto(ir_version=source.ir_version)
    header.opset_import.extend(source.opset_import)
    header.metadata_props.extend(source.metadata_props)
    header.graph.name = source.graph.name
    weights = {tensor.name for tensor in source.graph.initializer}
    header.graph.input.extend(v for v in source.graph.input if v.name not in weights)
    header.graph.output.extend(source.graph.output)
    return header


def _own_shape(source: onnx.ModelProto) -> tuple[int, ...] | None:
    text = next((e.value for e in source.metadata_props if e.key == SPEC_KEY), None)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=ModelSpec).input.tensor_shape
    except UNREADABLE_JSON:
        return None  # whoever chooses the spec says what is wrong with it


def _run_once(model: onnx.ModelProto, path: Path) -> tuple[str, ...]:
    """Open a cleaned model and run it on zeros; nothing is run where a size is still free."""
    session = open_model(model, where=path)
    value = model.graph.input[0]
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    shape = [*(n or 1 for n in sizes[:1]), *sizes[1:]]
    elements = math.prod(shape)
    if elements > _MOST_ELEMENTS:
        raise ModelError(
            f"its input has {elements} values",
            where=path,
            remedy="export it for pictures of the size that it will see",
        )
    if not elements or value.type.tensor_type.elem_type == TensorProto.STRING:
        return ()
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    try:
        outputs = session.run(None, {value.name: np.zeros(shape, dtype)})
    except ORT_ERRORS as error:
        raise ModelError(
            f"the model cannot be run on zeros of shape {tuple(shape)}: {_reason(error)}",
            where=path,
            remedy="export it again; free sizes are taken from --spec",
        ) from error
    answers = [np.asarray(o) for o in outputs if isinstance(o, np.ndarray)]
    if any(a.dtype.kind == "f" and np.isnan(a).any() for a in answers):
        return ("the model answers NaN for an input of zeros",)
    return ()


def _reason(error: Exception) -> str:
    """Return what ONNX Runtime says without the places in its own source."""
    found = _NODE_FAILS.search(str(error))
    return f"{found[1]}: {found[2]}"[:200] if found else first_line(error)


def _write(model: onnx.ModelProto, file: Path, path: Path) -> None:
    try:
        file.write_bytes(model.SerializeToString())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        raise ModelError(
            f"the model becomes too large when its constants are folded ({reason or error})",
            where=path,
            remedy="export a smaller model; TMPDIR names a folder with more space",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
