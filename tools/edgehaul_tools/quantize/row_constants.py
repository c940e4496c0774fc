"""The numbers of each channel, repeated along a row of the picture, where bytes are normalised.

Integer convolutions of ONNX Runtime take pixels, not planes, so that it moves the Transpose of a
picture behind what is computed of it in float. A mean of three numbers is then repeated for each
pixel by itself, which takes longer than the rest of the normalisation: a factor and an offset
2 ms each at 416x416, and 0.1 ms where a whole row of them stands there.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

_ARITHMETIC = frozenset({"Add", "Div", "Mul", "Sub"})
_RANK = 4
_MOST_CHANNELS = 4
_WIDTH_OF_PIXELS, _WIDTH_OF_PLANES = 2, 3
"""The axis of columns in (N, H, W, C) and in (N, C, H, W)."""


def repeat_along_rows(model: onnx.ModelProto) -> int:
    """Repeat what stands for each channel along the columns; changes the model in place.

    Args:
        model: A quantized model; one that takes no bytes stays as it is.

    Returns:
        How many constants were repeated.
    """
    graph = model.graph
    kind = graph.input[0].type.tensor_type
    sides = [dim.dim_value for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.UINT8 or len(sides) != _RANK:
        return 0
    axis = _WIDTH_OF_PIXELS if sides[-1] <= _MOST_CHANNELS else _WIDTH_OF_PLANES
    rows = _Rows(graph, sides[axis])
    axes = {graph.input[0].name: axis}
    for node in graph.node:
        source = next((name for name in node.input if name in axes), None)
        if source is not None and (after := rows.follow(node, source, axes[source])) is not None:
            axes[node.output[0]] = after
    return rows.repeated


class _Rows:
    """Follows the columns of a picture through a graph, and repeats constants on the way.

    Attributes:
        repeated: How many were.
    """

    def __init__(self, graph: onnx.GraphProto, width: int) -> None:
        self.repeated = 0
        self._graph, self._width = graph, width
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._uses = Counter(name for node in graph.node for name in node.input)

    def follow(self, node: onnx.NodeProto, source: str, axis: int) -> int | None:
        """Return the axis of columns behind a node; none where it is not followed further."""
        if node.op_type == "Cast":
            return axis
        if node.op_type == "Transpose":
            return _order(node).index(axis)
        if node.op_type not in _ARITHMETIC:
            return None
        slot = 1 - list(node.input).index(source)
        constant = self._constants.get(node.input[slot])
        if constant is None:
            return None
        row = _repeated(constant, axis, self._width)
        if row is not None:
            self._put(node, slot, row)
        return axis

    def _put(self, node: onnx.NodeProto, slot: int, row: onnx.TensorProto) -> None:
        self.repeated += 1
        name = node.input[slot]
        self._uses[name] -= 1
        if self._uses[name]:
            row.name = node.input[slot] = f"{node.name}.{slot}.repeated"
            self._graph.initializer.append(row)
        else:
            self._constants[name].CopyFrom(row)


def _repeated(tensor: onnx.TensorProto, axis: int, width: int) -> onnx.TensorProto | None:
    """Return a constant of two to four numbers as a row of them; none for any other."""
    values = numpy_helper.to_array(tensor)
    if not 1 < values.size <= _MOST_CHANNELS or values.ndim > _RANK:
        return None
    values = values.reshape((1,) * (_RANK - values.ndim) + values.shape)
    if values.shape[axis] != 1 or not width:
        return None
    return numpy_helper.from_array(np.repeat(values, width, axis), tensor.name)


def _order(node: onnx.NodeProto) -> list[int]:
    return next((list(a.ints) for a in node.attribute if a.name == "perm"), [3, 2, 1, 0])
