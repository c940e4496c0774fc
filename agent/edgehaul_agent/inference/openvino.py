"""Running models with OpenVINO, where it is installed and configured."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgehaul.errors import ModelError, UsageError
from edgehaul_agent.inference.engine import Array, Shape, TensorInfo

_MESSAGE_CHARS = 240
_DEVICE = "CPU"


class OpenVinoEngine:
    """A compiled model; made by :func:`open_openvino`.

    An infer request belongs to one thread at a time, so each thread has its own.
    """

    providers: Sequence[str] = (f"OpenVINO {_DEVICE}",)

    def __init__(self, compiled: Any, path: Path) -> None:  # noqa: ANN401 - it may be absent
        self._compiled = compiled
        self._path = path
        self._own = threading.local()
        self.inputs: Sequence[TensorInfo] = tuple(_info(port) for port in compiled.inputs)
        self.outputs: Sequence[TensorInfo] = tuple(_info(port) for port in compiled.outputs)

    def run(self, tensor: Array) -> list[Array]:
        """Run the model on its one input tensor and return its outputs.

        Raises:
            ModelError: OpenVINO refused the tensor or failed.
        """
        self._check(tensor)
        try:
            request = getattr(self._own, "request", None)
            if request is None:
                request = self._own.request = self._compiled.create_infer_request()
            outputs = request.infer([tensor], share_inputs=False, share_outputs=False)
            return [np.asarray(outputs[port]) for port in self._compiled.outputs]
        except (RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"the model failed: {_one_line(error)}",
                where=self._path,
                remedy="check the spec, or pack the bundle again",
            ) from error

    def _check(self, tensor: Array) -> None:
        """Refuse another type: OpenVINO would convert it in silence."""
        if tensor.dtype.name != self.inputs[0].dtype:
            raise ModelError(
                f"the model failed: it takes {self.inputs[0].dtype}, not {tensor.dtype.name}",
                where=self._path,
                remedy="check the spec, or pack the bundle again",
            )


def open_openvino(path: Path, threads: int = 1, *, workers: int = 1) -> OpenVinoEngine:
    """Load a model.

    What is float32 in the model is computed in float32: processors with bfloat16 would take that
    otherwise, and answers would move from those that were proved.

    Args:
        path: The ONNX file.
        threads: Threads within one run.
        workers: Threads that call it at a time.

    Raises:
        UsageError: OpenVINO is not installed.
        ModelError: There is no such file, or OpenVINO cannot use it.
    """
    if not path.is_file():
        raise ModelError("no such model file", where=path, remedy="install the bundle again")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads * workers,
        "NUM_STREAMS": workers,
        # The agent has other threads too; where they run is for the kernel to say.
        "ENABLE_CPU_PINNING": False,
    }
    core = _openvino().Core()
    try:
        return OpenVinoEngine(core.compile_model(str(path), _DEVICE, settings), path)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"OpenVINO cannot load this model: {_one_line(error)}",
            where=path,
            remedy="export it again, or let ONNX Runtime run it (engine.runtime)",
        ) from error


def runtime_version() -> str:
    """Return name and version of what runs the models.

    Raises:
        UsageError: OpenVINO is not installed.
    """
    return f"openvino {_openvino().__version__}"


def _openvino() -> Any:  # noqa: ANN401 - the package need not be there
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UsageError(
            f"openvino is configured to run the models and cannot be imported: {error}",
            where="engine.runtime",
            remedy="pip install 'edgehaul[agent,openvino]', or set it to onnxruntime",
        ) from error


def _info(port: Any) -> TensorInfo:  # noqa: ANN401 - a port of OpenVINO
    names = sorted(port.get_names())
    sides: Shape = tuple(
        dimension.get_length() if dimension.is_static else None
        for dimension in port.get_partial_shape()
    )
    return TensorInfo(names[0] if names else "", sides, port.get_element_type().to_dtype().name)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_CHARS else text[: _MESSAGE_CHARS - 3] + "..."
