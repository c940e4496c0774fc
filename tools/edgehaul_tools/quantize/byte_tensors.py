"""Tensors that hold nothing but an input's bytes, each one turned into the same number.

Where a byte ``v`` becomes ``f(v)`` in float and QuantizeLinear makes ``v`` of that again, the way
through float is no work at all: the bytes may go into the integer kernel as they are, and every
answer stays the same to the bit. Whether it is so is not reasoned but computed, for all 256 bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgehaul_tools.quantize.calibrate import Ranges
from edgehaul_tools.quantize.tensors import nodes_of

Table = NDArray[np.float32]
"""What each byte becomes, (256,)."""

_BYTES = np.arange(256, dtype=np.float32)
_MOVING = frozenset(
    {"Flatten", "Gather", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Operators whose output holds values of their first input, and that are fast with bytes.

Slice and Concat are not: YOLO's focus is one operator in float (SpaceToDepth, 0.4 ms at 416x416),
and in bytes four Slices and a Concat of 1.9 ms.
"""
_ARITHMETIC = {"Add": np.add, "Div": np.divide, "Mul": np.multiply, "Sub": np.subtract}
_SURE = 0.25
"""How near to a byte a quotient is to lie: no runtime rounds it to another one."""
_COPY = ".bytes"
_QUANTIZE_INPUTS = 3
"""Tensor, scale and zero point; without the last it is of no known type."""


def byte_ranges(model: onnx.ModelProto) -> Ranges:
    """Return the range of each tensor of bytes that unsigned int8 can hold without any loss.

    It is known, not measured: calibration pictures that are never quite white would move it.

    Args:
        model: A float model that takes bytes; others have none.
    """
    found: Ranges = {}
    for name, table in _tables(model.graph).items():
        low, high = min(float(table.min()), 0.0), max(float(table.max()), 0.0)
        step = np.float32((high - low) / 255)
        if step > 0 and _is_identity(table, step, np.uint8(np.clip(round(-low / step), 0, 255))):
            found[name] = (low, high)
    return found


def without_float_input(model: onnx.ModelProto) -> int:
    """Let integer kernels read bytes that went through float for nothing; changes it in place.

    Args:
        model: A quantized model, of QDQ pairs or integer operators.

    Returns:
        How many QuantizeLinear are gone.
    """
    gone = list(_idle(model.graph))
    if not gone:
        return 0
    copies = _Copies(model.graph)
    bytes_of = {node.output[0]: copies.of(node.input[0]) for node in gone}
    for node in nodes_of(model):
        for slot, name in enumerate(node.input):
            node.input[slot] = bytes_of.get(name, name)
    copies.put()
    _drop_unread(model)
    return len(gone)


def goes_through_float(model: onnx.ModelProto) -> bool:
    """Return whether no integer kernel reads the bytes of the input themselves."""
    plain = _plain(model.graph)
    readers = (node for node in model.graph.node if plain.intersection(node.input))
    return all(node.op_type == "Cast" or _moves(node, plain) for node in readers)


def _plain(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors that hold bytes of the input as they are."""
    inputs = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    plain = {name for name, kind in inputs.items() if kind == TensorProto.UINT8}
    for node in graph.node:
        if _moves(node, plain):
            plain.add(node.output[0])
    return plain


def _tables(graph: onnx.GraphProto) -> dict[str, Table]:
    """Return what bytes become in each float tensor that holds nothing else."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    plain = _plain(graph)
    tables: dict[str, Table] = {}
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in plain and _is_to_float(node):
            tables[node.output[0]] = _BYTES
            continue
        table = _next_table(node, tables, constants)
        if table is not None:
            tables[node.output[0]] = table
    return tables


def _next_table(
    node: onnx.NodeProto, tables: Mapping[str, Table], constants: Mapping[str, onnx.TensorProto]
) -> Table | None:
    given = [tables[name] for name in node.input if name in tables]
    if not given:
        return None
    if _moves(node, tables):
        return given[0]
    if node.op_type not in _ARITHMETIC or len(given) != 1:
        return None
    number = next((constants[name] for name in node.input if name in constants), None)
    if number is None or np.prod(number.dims) != 1 or number.data_type != TensorProto.FLOAT:
        return None
    value = numpy_helper.to_array(number).ravel()
    pair = (given[0], value) if node.input[0] in tables else (value, given[0])
    with np.errstate(all="ignore"):
        made: Table = _ARITHMETIC[node.op_type](*pair).astype(np.float32)
    return made if np.isfinite(made).all() else None


def _moves(node: onnx.NodeProto, known: Collection[str]) -> bool:
    """Return whether an output holds nothing but values of one of these tensors."""
    return node.op_type in _MOVING and node.input[0] in known


def _is_identity(table: Table, scale: np.float32, zero: np.generic) -> bool:
    """Return whether QuantizeLinear makes each byte of what it has become again."""
    if zero.dtype != np.uint8:  # signed: the same bits mean other numbers
        return False
    quantized = table / scale + np.float32(zero)
    return bool((np.abs(quantized - _BYTES) < _SURE).all())


def _idle(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield each QuantizeLinear that makes bytes what they were."""
    tables = _tables(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in tables:
            continue
        numbers = [constants[name] for name in node.input[1:] if name in constants]
        if len(numbers) + 1 != _QUANTIZE_INPUTS or np.prod(numbers[0].dims) != 1:
            continue
        scale, zero = (numpy_helper.to_array(number).ravel()[0] for number in numbers)
        if _is_identity(tables[node.input[0]], scale, zero):
            yield node


class _Copies:
    """The bytes behind float tensors; what moves values is copied to move bytes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._producer = {output: node for node in graph.node for output in node.output}
        self._copies: dict[str, onnx.NodeProto] = {}

    def of(self, tensor: str) -> str:
        """Return the name of the tensor of bytes that a float tensor is made of."""
        node = self._producer[tensor]
        if node.op_type == "Cast":
            source: str = node.input[0]
            return source
        if node.op_type in _ARITHMETIC:
            return self.of(next(name for name in node.input if name in self._producer))
        if tensor not in self._copies:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.name, copy.output[0] = f"{node.name}{_COPY}", f"{tensor}{_COPY}"
            copy.input[0] = self.of(node.input[0])
            self._copies[tensor] = copy
        name: str = self._copies[tensor].output[0]
        return name

    def put(self) -> None:
        """Put each copy beside the node that it is one of."""
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            nodes.append(node)
            if node.output and node.output[0] in self._copies:
                nodes.append(self._copies[node.output[0]])
        del self._graph.node[:]
        self._graph.node.extend(nodes)


def _drop_unread(model: onnx.ModelProto) -> None:
    """Remove nodes, constants and types that nothing reads any more."""
    graph = model.graph
    uses = Counter(output.name for output in graph.output)
    uses.update(name for node in nodes_of(model) for name in node.input)
    producer = {output: node for node in graph.node for output in node.output}
    waiting = [node for node in graph.node if not any(uses[name] for name in node.output)]
    while waiting:
        node = waiting.pop()
        graph.node.remove(node)
        for name in node.input:
            uses[name] -= 1
            source = producer.get(name)
            if source is not None and not any(uses[output] for output in source.output):
                waiting.append(source)
    for values in (graph.initializer, graph.value_info):
        kept = [value for value in values if uses[value.name] > 0]
        del values[:]
        values.extend(kept)


def _is_to_float(node: onnx.NodeProto) -> bool:
    return any(a.name == "to" and a.i == TensorProto.FLOAT for a in node.attribute)
