"""Running models with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped] # it ships no types
from onnxruntime.capi import (  # type: ignore[import-untyped] # it ships no types
    onnxruntime_pybind11_state as ort_errors,
)

from edgehaul.errors import ModelError
from edgehaul_agent.inference.engine import Array, TensorInfo

# ONNX Runtime's exceptions have no common base of their own.
_ORT_ERRORS: tuple[type[Exception], ...] = (
    *(
        kind
        for kind in vars(ort_errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
    ValueError,
)
_FATAL_ONLY = 4
_MESSAGE_CHARS = 240

_NUMPY_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OnnxRuntimeEngine:
    """An ONNX Runtime session; made by :func:`open_engine`."""

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        self._inputs = tuple(_info(value) for value in session.get_inputs())
        self._outputs = tuple(_info(value) for value in session.get_outputs())

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """The model's inputs."""
        return self._inputs

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """The model's outputs."""
        return self._outputs

    def run(self, tensor: Array) -> list[Array]:
        """Run the model on its one input tensor and return its outputs.

        Raises:
            ModelError: ONNX Runtime refused the tensor or failed.
        """
        try:
            outputs = self._session.run(None, {self._inputs[0].name: tensor})
        except _ORT_ERRORS as error:
            raise ModelError(
                f"the model failed: {_one_line(error)}",
                where=self._path,
                remedy="check the spec, or pack the bundle again",
            ) from error
        return [np.asarray(output) for output in outputs]


def open_engine(path: Path, threads: int = 1) -> OnnxRuntimeEngine:
    """Load a model.

    One thread for each session: two sessions of one thread each do nearly twice the work of
    one session with two threads. Idle threads sleep instead of spinning.

    Args:
        path: The ONNX file.
        threads: Threads within one run.

    Raises:
        ModelError: There is no such file, or ONNX Runtime cannot use it.
    """
    if not path.is_file():
        raise ModelError("no such model file", where=path, remedy="install the bundle again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # What goes wrong comes as an exception; the log would say it a second time on stderr.
    options.log_severity_level = _FATAL_ONLY
    try:
        session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except _ORT_ERRORS as error:
        raise ModelError(
            f"ONNX Runtime cannot load this model: {_one_line(error)}",
            where=path,
            remedy="export it again, or install the bundle again",
        ) from error
    return OnnxRuntimeEngine(session, path)


def _info(value: Any) -> TensorInfo:  # noqa: ANN401 - ONNX Runtime's NodeArg has no stub
    return TensorInfo(value.name, tuple(value.shape), _NUMPY_TYPES.get(value.type, value.type))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 3] + "..."
