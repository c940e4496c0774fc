"""The order of a picture's colours, reversed in the weights of the first convolutions.

A convolution sums over its input channels, so the order of its weights along them may be turned in
place of the picture. On the way there the axis may be moved, and what is added to or multiplied
with each channel is turned along.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from edgehaul_tools.quantize.graph import consumers_of
from edgehaul_tools.quantize.tensors import graphs_of

_SAME = frozenset({"Cast", "Identity"})
_BROADCAST = frozenset({"Add", "Div", "Mul", "Sub"})
_PLANES_AXIS, _RANK = 1, 4


@dataclass(frozen=True, slots=True)
class _Turn:
    """A constant that a node is to read reversed along an axis."""

    node: onnx.NodeProto
    slot: int
    axis: int


class _PlaceMattersError(Exception):
    """A node on the way treats channels by their place."""


def reverse_in_weights(model: onnx.ModelProto, tensor: str, axis: int) -> bool:
    """Let a model take a tensor whose channels come in reverse; changes the model in place.

    Args:
        model: A cleaned model.
        tensor: Name of a tensor of rank 4.
        axis: Its axis of channels.

    Returns:
        False, with nothing changed, where something else than convolutions without groups reads
        the channels.
    """
    if len(list(graphs_of(model))) > 1:  # branches and loops read by name, too
        return False
    try:
        turns = _Way(model.graph).turns(tensor, axis)
    except _PlaceMattersError:
        return False
    values = {value.name: value for value in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    for turn in turns:
        name = turn.node.input[turn.slot]
        turned = np.ascontiguousarray(np.flip(numpy_helper.to_array(values[name]), turn.axis))
        if uses[name] == 1:
            values[name].CopyFrom(numpy_helper.from_array(turned, name))
            continue
        own = f"{turn.node.name}.{turn.slot}.turned"
        model.graph.initializer.append(numpy_helper.from_array(turned, own))
        turn.node.input[turn.slot] = own
    return True


class _Way:
    """What lies between a tensor and the convolutions that read its channels."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._consumers: defaultdict[str, list[onnx.NodeProto]] = consumers_of(graph)
        self._outputs = {output.name for output in graph.output}
        self._constants = {value.name: value for value in graph.initializer}

    def turns(self, tensor: str, axis: int) -> list[_Turn]:
        """Return which constants are to be reversed.

        Raises:
            _PlaceMattersError: That would not do.
        """
        if tensor in self._outputs:
            raise _PlaceMattersError
        found: list[_Turn] = []
        for node in self._consumers[tensor]:
            if node.op_type == "Conv":
                found.append(self._of_convolution(node, tensor, axis))
                continue
            if node.op_type in _BROADCAST:
                found += self._of_constant(node, tensor, axis)
            elif node.op_type not in {*_SAME, "Transpose"}:
                raise _PlaceMattersError
            found += self.turns(node.output[0], _moved(node, axis))
        return found

    def _of_convolution(self, node: onnx.NodeProto, tensor: str, axis: int) -> _Turn:
        weight = self._constants.get(node.input[1])
        alike = axis == _PLANES_AXIS and list(node.input).count(tensor) == 1
        if weight is None or not alike or _groups(node) != 1:
            raise _PlaceMattersError
        return _Turn(node, 1, _PLANES_AXIS)

    def _of_constant(self, node: onnx.NodeProto, tensor: str, axis: int) -> list[_Turn]:
        slot = 1 - list(node.input).index(tensor)
        constant = self._constants.get(node.input[slot])
        if constant is None or len(constant.dims) > _RANK:
            raise _PlaceMattersError
        own = axis - (_RANK - len(constant.dims))  # aligned at the last axis
        along = own >= 0 and constant.dims[own] > 1
        return [_Turn(node, slot, own)] if along else []


def _moved(node: onnx.NodeProto, axis: int) -> int:
    """Return where a node leaves an axis."""
    if node.op_type != "Transpose":
        return axis
    order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [3, 2, 1, 0])
    return order.index(axis)


def _groups(node: onnx.NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)
