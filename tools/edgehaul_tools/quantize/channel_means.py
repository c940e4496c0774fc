"""Channel means of the layers of a model, measured in the graph itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgehaul_tools.export.runtime import open_model, processors

Array = NDArray[Any]
Means = dict[str, Array]
"""Mean of each channel over batch and space, shaped (1, C, 1, ...), by node."""
Continued = Callable[[str, str, str], list[onnx.NodeProto]]
"""Makes nodes for a layer from its name, its raw output and the tensor that others read."""

_FATAL_ONLY = 4
_AXES_ARE_INPUT_FROM = 18
"""Since this opset, the axes of ReduceMean are an input."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A node with weights.

    Attributes:
        name: Of the node.
        rank: Number of dimensions of its output (B, channels, ...).
        channels: Of its output.
    """

    name: str
    rank: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its means."""
        return (1, self.channels, *[1] * (self.rank - 2))


class Measurement:
    """A model that answers with the channel means of its layers.

    Args:
        model: Float or quantized.
        layers: Of which.
        continued: Makes the nodes from a layer's raw output and its mean to what reads it.
    """

    def __init__(
        self, model: onnx.ModelProto, layers: Sequence[Layer], continued: Continued
    ) -> None:
        self._layers = layers
        self._session = open_model(_measuring(model, layers, continued), threads=processors())
        self._feed: str = model.graph.input[0].name
        self._takes = {value.name for value in self._session.get_inputs()}
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True
        self._options.log_severity_level = _FATAL_ONLY  # whoever tries a batch size gets the error

    def __call__(self, given: Means, tensor: Array, wanted: Sequence[Layer] | None = None) -> Means:
        """Return the means of the wanted layers (all of them) on one input or batch."""
        names = [layer.name for layer in wanted or self._layers]
        feeds = {_given(name): value.astype(np.float32) for name, value in given.items()}
        feeds = {name: value for name, value in feeds.items() if name in self._takes}
        means = self._session.run(
            [_mean(name) for name in names], {self._feed: tensor, **feeds}, self._options
        )
        return dict(zip(names, means, strict=True))

    def over(
        self, given: Means, tensors: Sequence[Array], wanted: Sequence[Layer] | None = None
    ) -> Means:
        """Return the means over several inputs."""
        total: Means = {}
        for tensor in tensors:
            for name, mean in self(given, tensor, wanted).items():
                total[name] = total.get(name, 0.0) + mean / len(tensors)
        return total


def _mean(layer: str) -> str:
    return f"{layer}.edgehaul.mean"


def _given(layer: str) -> str:
    return f"{layer}.edgehaul.given"


def _measuring(
    model: onnx.ModelProto, layers: Sequence[Layer], continued: Continued
) -> onnx.ModelProto:
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    opset = max(entry.version for entry in model.opset_import if not entry.domain)
    known = {layer.name: layer for layer in layers}
    nodes: list[onnx.NodeProto] = []
    del graph.output[:]
    for node in graph.node:
        nodes.append(node)
        layer = known.get(node.name)
        if layer is None:
            continue
        output, raw = node.output[0], f"{node.name}.edgehaul.raw"
        node.output[0] = raw
        nodes.append(_mean_node(graph, layer, raw, opset))
        nodes += continued(layer.name, raw, output)
        graph.output.append(
            helper.make_tensor_value_info(_mean(layer.name), onnx.TensorProto.FLOAT, None)
        )
        if continued is not observed:
            graph.input.append(
                helper.make_tensor_value_info(
                    _given(layer.name), onnx.TensorProto.FLOAT, layer.shape
                )
            )
    del graph.node[:]
    graph.node.extend(nodes)
    return measured


def _mean_node(graph: onnx.GraphProto, layer: Layer, raw: str, opset: int) -> onnx.NodeProto:
    axes = [0, *range(2, layer.rank)]
    if opset < _AXES_ARE_INPUT_FROM:
        return helper.make_node("ReduceMean", [raw], [_mean(layer.name)], axes=axes)
    name = f"{layer.name}.edgehaul.axes"
    graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), name))
    return helper.make_node("ReduceMean", [raw, name], [_mean(layer.name)])


def observed(_layer: str, raw: str, output: str) -> list[onnx.NodeProto]:
    """Hand the raw output on."""
    return [helper.make_node("Identity", [raw], [output])]


def brought_to_mean(layer: str, raw: str, output: str) -> list[onnx.NodeProto]:
    """Take off by how much the mean of this very run differs from the one given."""
    error = f"{layer}.edgehaul.error"
    return [
        helper.make_node("Sub", [_mean(layer), _given(layer)], [error]),
        helper.make_node("Sub", [raw, error], [output]),
    ]


def less_given(layer: str, raw: str, output: str) -> list[onnx.NodeProto]:
    """Take off the values given."""
    return [helper.make_node("Sub", [raw, _given(layer)], [output])]
