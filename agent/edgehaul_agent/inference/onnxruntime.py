"""Running models with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped] # it ships no types
from onnxruntime.capi import (  # type: ignore[import-untyped] # it ships no types
    onnxruntime_pybind11_state as ort_errors,
)

from edgehaul.config.engine import CPU
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
        # A run that fails shall fail, and not be tried again on another provider in silence.
        session.disable_fallback()
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

    @property
    def providers(self) -> Sequence[str]:
        """ONNX Runtime's providers in this session, the preferred one first."""
        return tuple(self._session.get_providers())

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


def open_engine(
    path: Path,
    threads: int = 1,
    *,
    providers: Mapping[str, dict[str, str]] | None = None,
    optimised: bool = False,
) -> OnnxRuntimeEngine:
    """Load a model.

    One thread for each session: two sessions of one thread each do nearly twice the work of
    one session with two threads. Idle threads sleep instead of spinning.

    ONNX Runtime's other settings for memory stay as they are: for a detector (320x320, fp32) that
    two threads share, 43 MiB became 53 without the arena and 88 with shrinking after each run, in
    which both threads' memory comes and goes; extending by what is requested, initializers outside
    the arena and no pre-packing changed nothing or took time (``tests/bench/session_memory.py``).

    Args:
        path: The ONNX file.
        threads: Threads within one run.
        providers: Execution providers with their options, the preferred one first; by default
            the processor.
        optimised: Whether the file is what :func:`write_optimised` has written on this machine,
            so that nothing is left to optimise.

    Raises:
        ModelError: There is no such file, or ONNX Runtime cannot use it.
    """
    if not path.is_file():
        raise ModelError("no such model file", where=path, remedy="install the bundle again")
    wanted = {CPU: {}} if providers is None else providers
    options = _session_options(threads, wanted)
    if optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return OnnxRuntimeEngine(_open_session(path, options, wanted), path)


def write_optimised(path: Path, target: Path) -> None:
    """Write the graph that ONNX Runtime makes of a model for this machine's processor.

    It fits this kind of processor and this version of ONNX Runtime alone.

    Args:
        path: The ONNX file.
        target: Where it is written.

    Raises:
        ModelError: ONNX Runtime cannot use the model, or cannot write there.
    """
    options = _session_options(1, {CPU: {}})
    options.optimized_model_filepath = str(target)
    _open_session(path, options, {CPU: {}})


def runtime_version() -> str:
    """Return name and version of what runs the models."""
    return f"onnxruntime {onnxruntime.__version__}"


def available_providers() -> tuple[str, ...]:
    """Return the execution providers of this build of ONNX Runtime."""
    return tuple(onnxruntime.get_available_providers())


def _session_options(
    threads: int, providers: Mapping[str, dict[str, str]]
) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # DirectML does not work with it.
    options.enable_mem_pattern = "DmlExecutionProvider" not in providers
    # What goes wrong comes as an exception; the log would say it a second time on stderr.
    options.log_severity_level = _FATAL_ONLY
    return options


def _open_session(
    path: Path, options: onnxruntime.SessionOptions, providers: Mapping[str, dict[str, str]]
) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=list(providers.items())
        )
    except _ORT_ERRORS as error:
        raise ModelError(
            f"ONNX Runtime cannot load this model: {_one_line(error)}",
            where=path,
            remedy="export it again, or install the bundle again",
        ) from error


def _info(value: Any) -> TensorInfo:  # noqa: ANN401 - ONNX Runtime's NodeArg has no stub
    return TensorInfo(value.name, tuple(value.shape), _NUMPY_TYPES.get(value.type, value.type))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 3] + "..."
