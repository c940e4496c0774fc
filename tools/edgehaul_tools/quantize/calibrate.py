"""The ranges of a model's activations, measured on real inputs in constant memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul_tools.export.runtime import processors, runner
from edgehaul_tools.quantize.graph import consumers_of
from edgehaul_tools.quantize.histogram import Histogram
from edgehaul_tools.quantize.ranging import SMOOTHING, Method, range_of

__all__ = ["Histograms", "Method", "Ranges", "activation_tensors", "exposing", "tensors_around"]

_log = logging.getLogger(__name__)

Array = NDArray[Any]
Inputs = Callable[[], Iterator[Array]]
"""Gives the calibration tensors, from the start on each call."""
Progress = Callable[[int, int], None]
"""Told how many inputs are done, and of how many (0: not known)."""
Ranges = dict[str, tuple[float, float]]

SAMPLES_PER_TENSOR = 20_000
"""Values of one tensor and input that enter its histogram; extremes are taken from all."""

_CUTTING_OPS = frozenset({"Relu", "Clip"})
"""Their input needs the range of their output: what lies outside is cut off anyway."""
_MOVING_OPS = frozenset(
    {"MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"}
)
"""Their output holds values of their input and has its range."""


class Histograms:
    """Extremes and histogram of activation tensors, from one pass over the inputs.

    Tensors whose range follows from another's are not looked at: the input of a Relu that
    nothing else reads, the output of a MaxPool. The network runs on all processors.

    Args:
        model: A cleaned float model.
        tensors: Names of the tensors that need ranges.
        inputs: The calibration tensors; none where :meth:`run` is to be called with each.
        progress: Told after each input.
        total: How many inputs there are, for ``progress``.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        tensors: Iterable[str],
        inputs: Inputs | None = None,
        *,
        progress: Progress = lambda _done, _total: None,
        total: int = 0,
    ) -> None:
        self._source_of = _sources(model.graph, sorted(set(tensors)))
        self._names = sorted(set(self._source_of.values()))
        self._histograms = {name: Histogram(SMOOTHING) for name in self._names}
        exposed = _exposing_too(model, self._names)
        self._run = runner(exposed, threads=processors())
        self._fetched = [output.name for output in exposed.graph.output]
        self._outputs = len(model.graph.output)
        self._seen = 0
        self._ignored: set[str] = set()
        for tensor in inputs() if inputs else ():
            self.run(tensor)
            progress(self._seen, total)

    def run(self, tensor: Array) -> Sequence[Array]:
        """Take in one input and return the model's own outputs for it.

        It fits wherever the float model's answers are needed too, and saves running it twice.
        """
        results = self._run(tensor)
        for name, values in zip(self._fetched, results, strict=True):
            if name in self._histograms:
                self._take(name, values.ravel())
        self._seen += 1
        return results[: self._outputs]

    def ranges(self, method: Method) -> Ranges:
        """Return lowest and highest value to represent, for each tensor, always with zero."""
        found = {name: range_of(self._histograms[name], method) for name in self._names}
        return {name: found[source] for name, source in self._source_of.items()}

    def _take(self, name: str, values: Array) -> None:
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():  # one of them is NaN if any value is
            values = self._finite(name, values)
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        histogram = self._histograms[name]
        histogram.widen(low, high)
        # An odd step, begun elsewhere for each input, meets all rows, columns and channels.
        step = max(1, values.size // SAMPLES_PER_TENSOR) | 1
        histogram.count(values[self._seen % step :: step])

    def _finite(self, name: str, values: Array) -> Array:
        if name not in self._ignored:
            self._ignored.add(name)
            _log.warning("tensor %s holds NaN or infinite values; they are left out", name)
        finite: Array = values[np.isfinite(values)]
        return finite


def activation_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the names of all float activations of a cleaned model, its inputs included."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    typed = [*graph.value_info, *graph.input, *graph.output]
    return [
        value.name
        for value in typed
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in weights
    ]


def tensors_around(model: onnx.ModelProto, float_nodes: Container[str]) -> list[str]:
    """Return the float activations that nodes outside ``float_nodes`` read or write.

    Only these need ranges; a detector's decoding, which stays in float, has many more.
    """
    touched = {
        name
        for node in model.graph.node
        if node.name not in float_nodes
        for name in (*node.input, *node.output)
    }
    return [name for name in activation_tensors(model) if name in touched]


def exposing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return the model with these float tensors as its outputs, in this order."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    _add_outputs(exposed.graph, names)
    return exposed


def _exposing_too(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return the model with these float tensors as outputs beside its own."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    own = {output.name for output in model.graph.output}
    _add_outputs(exposed.graph, (name for name in names if name not in own))
    return exposed


def _add_outputs(graph: onnx.GraphProto, names: Iterable[str]) -> None:
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )


def _sources(graph: onnx.GraphProto, names: Sequence[str]) -> dict[str, str]:
    """Return, for each tensor, the one whose range it takes; mostly itself."""
    follows: dict[str, str] = {}
    consumers = consumers_of(graph)
    ends = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        if node.op_type in _MOVING_OPS:
            follows[node.output[0]] = node.input[0]
        read_once = len(consumers[node.input[0]]) == 1 if node.input else False
        if node.op_type in _CUTTING_OPS and read_once and node.input[0] not in ends:
            follows[node.input[0]] = node.output[0]
    known = set(names)

    def source(name: str) -> str:
        following = follows.get(name)
        return source(following) if following in known else name

    return {name: source(name) for name in names}
