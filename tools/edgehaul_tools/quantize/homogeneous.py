"""Which layer reads a layer's channels through nothing but positively homogeneous nodes.

Such a node gives ``s`` times its output for ``s`` times its input, ``s > 0``, channel by channel.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from math import prod

import onnx
from onnx import numpy_helper

_HOMOGENEOUS = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Identity",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
    }
)
_FLATTENING = frozenset({"Flatten", "Reshape", "Squeeze"})
_MEANS = frozenset({"ReduceMean", "ReduceMax"})
_DENSE_RANK = 2

Consumers = Mapping[str, Sequence[onnx.NodeProto]]
Dims = tuple[int | str, ...]


class Shapes:
    """What is known of the tensors of a graph.

    Args:
        graph: A graph with inferred shapes.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.outputs = {output.name for output in graph.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._dims: dict[str, Dims] = {
            value.name: tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param
                for d in value.type.tensor_type.shape.dim
            )
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }

    def repeat(self, node: onnx.NodeProto) -> int | None:
        """Return how many inputs of a dense layer each channel becomes; none where not known."""
        before, after = self._dims.get(node.input[0], ()), self._dims.get(node.output[0], ())
        if len(before) < _DENSE_RANK or len(after) != _DENSE_RANK or before[0] != after[0]:
            return None
        values = [d for d in (*before[1:], after[1]) if isinstance(d, int)]
        if not before[0] or len(values) < len(before) or prod(values[:-1]) != values[-1]:
            return None
        return prod(values[1:-1])

    def spatial(self, node: onnx.NodeProto) -> bool:
        """Return whether a reduction leaves batch and channels alone."""
        rank = len(self._dims.get(node.input[0], ()))
        axes = [list(a.ints) for a in node.attribute if a.name == "axes"]
        if len(node.input) > 1 and node.input[1] in self._constants:
            axes = [numpy_helper.to_array(self._constants[node.input[1]]).tolist()]
        return bool(rank and axes and axes[0]) and all(axis % rank > 1 for axis in axes[0])


def next_layer(
    tensor: str, consumers: Consumers, shapes: Shapes, layers: Container[str]
) -> tuple[onnx.NodeProto, int] | None:
    """Return the layer that alone reads a tensor, and how many of its inputs a channel becomes.

    Args:
        tensor: Output (B, channels, ...) of a layer.
        consumers: The nodes that read each tensor.
        shapes: Of the graph.
        layers: Operators that are layers.

    Returns:
        None where another node reads it too, or a node between is not homogeneous.
    """
    repeat = 1
    while tensor not in shapes.outputs and len(consumers.get(tensor, ())) == 1:
        node = consumers[tensor][0]
        if node.input[0] != tensor or len(node.output) != 1:
            return None
        if node.op_type in layers:
            return node, repeat
        step = _repeat_of(node, shapes)
        if step is None:
            return None
        repeat, tensor = repeat * step, node.output[0]
    return None


def _repeat_of(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return how many values each channel becomes; none for a node that is not homogeneous."""
    if node.op_type in _HOMOGENEOUS:
        return 1
    if node.op_type in _MEANS:
        return 1 if shapes.spatial(node) else None
    if node.op_type in _FLATTENING:
        return shapes.repeat(node)
    return None
