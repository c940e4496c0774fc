"""HardSigmoid and HardSwish by integer additions: ONNX Runtime has no int8 kernel for them.

``HardSigmoid(x) = clip(alpha x + beta, 0, 1) = alpha clip(x + beta/alpha, 0, 1/alpha)``. In int8
the addition is QLinearAdd, the clip is where its bytes end, and the factor is no work at all: the
bytes are read with a scale that is ``alpha`` times as large. Left as they are, both operators
stand in float between DequantizeLinear and QuantizeLinear, and make a network slower in int8 than
it was.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgehaul_tools.quantize.calibrate import Ranges
from edgehaul_tools.quantize.graph import consumers_of

_ALPHA, _BETA = 0.2, 0.5
"""ONNX's defaults of HardSigmoid."""
_SWISH_ALPHA = 1 / 6
_RESCALED = ".rescaled"


def with_integer_gates(
    model: onnx.ModelProto, ranges: Ranges, float_nodes: Container[str]
) -> tuple[onnx.ModelProto, Ranges]:
    """Return the model with its int8 HardSigmoid and HardSwish taken apart, and all ranges.

    Args:
        model: A cleaned float model.
        ranges: Range of every activation.
        float_nodes: Names of the nodes that stay in float, and so as they are.
    """
    apart = onnx.ModelProto()
    apart.CopyFrom(model)
    graph, more = apart.graph, dict(ranges)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        gate = node.op_type in {"HardSigmoid", "HardSwish"} and node.name not in float_nodes
        nodes += _apart(graph, node, more) if gate and node.input[0] in ranges else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    return apart, more


def fold_rescalings(model: onnx.ModelProto) -> int:
    """Read gates with a larger scale in place of multiplying them; changes the model in place.

    Args:
        model: A model with QDQ pairs, made of what :func:`with_integer_gates` returned.

    Returns:
        How many multiplications are gone.
    """
    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    consumers = consumers_of(graph)
    gone: list[onnx.NodeProto] = []
    for node in graph.node:
        if not node.name.endswith(_RESCALED):
            continue
        read = producer.get(node.input[0])
        pairs = _pairs_behind(node, consumers)
        if read is None or read.op_type != "DequantizeLinear" or pairs is None:
            continue
        factor = _constant(node.input[1], producer, values)
        scale = f"{node.name}.scale"
        larger = numpy_helper.to_array(values[read.input[1]]) * factor
        graph.initializer.append(numpy_helper.from_array(np.asarray(larger, np.float32), scale))
        for _, dequantize in pairs:
            dequantize.input[0] = read.input[0]
            dequantize.input[1] = scale
            dequantize.input[2] = read.input[2]
        gone += [node, *{id(q): q for q, _ in pairs}.values()]
        gone += [
            producer[name] for name in node.input if name in producer and len(consumers[name]) == 1
        ]
    for node in gone:
        graph.node.remove(node)
    return sum(node.name.endswith(_RESCALED) for node in gone)


def _apart(graph: onnx.GraphProto, node: onnx.NodeProto, ranges: Ranges) -> list[onnx.NodeProto]:
    swish = node.op_type == "HardSwish"
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    alpha = _SWISH_ALPHA if swish else float(given.get("alpha", _ALPHA))
    beta = _BETA if swish else float(given.get("beta", _BETA))
    value, output = node.input[0], node.output[0]
    stem = node.name
    moved, clipped = f"{stem}.moved", f"{stem}.clipped"
    gate = f"{stem}.gate" if swish else output
    end = 1 / alpha
    ranges[moved] = ranges[clipped] = (0.0, end)
    ranges[gate] = (0.0, 1.0)
    for name, number in (("offset", beta / alpha), ("low", 0.0), ("high", end), ("alpha", alpha)):
        tensor = numpy_helper.from_array(np.array(number, np.float32), f"{stem}.{name}")
        graph.initializer.append(tensor)
    last = stem if not swish else f"{stem}.gated"
    nodes = [
        helper.make_node("Add", [value, f"{stem}.offset"], [moved], name=f"{stem}.add"),
        helper.make_node(
            "Clip", [moved, f"{stem}.low", f"{stem}.high"], [clipped], name=f"{stem}.clip"
        ),
        helper.make_node("Mul", [clipped, f"{stem}.alpha"], [gate], name=f"{last}{_RESCALED}"),
    ]
    if swish:
        nodes.append(helper.make_node("Mul", [value, gate], [output], name=stem))
    for name in (moved, clipped, *((gate,) if swish else ())):
        graph.value_info.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return nodes


def _pairs_behind(
    node: onnx.NodeProto, consumers: dict[str, list[onnx.NodeProto]]
) -> list[tuple[onnx.NodeProto, onnx.NodeProto]] | None:
    """Return the QDQ pairs that read a node; none where something else reads it, too."""
    pairs = []
    for quantize in consumers[node.output[0]]:
        if quantize.op_type != "QuantizeLinear":
            return None
        for dequantize in consumers[quantize.output[0]]:
            if dequantize.op_type != "DequantizeLinear":
                return None
            pairs.append((quantize, dequantize))
    return pairs or None


def _constant(
    name: str, producer: dict[str, onnx.NodeProto], values: dict[str, onnx.TensorProto]
) -> float:
    """Return a scalar, which may have been quantized itself."""
    if name in values:
        return float(numpy_helper.to_array(values[name]))
    read = producer[name]
    if read.op_type == "QuantizeLinear":  # pragma: no cover - weights are folded
        return _constant(read.input[0], producer, values)
    source = read.input[0]
    if source not in values:
        return _constant(source, producer, values)
    integer, scale, zero = (numpy_helper.to_array(values[n]) for n in read.input[:3])
    return float((integer.astype(np.float32) - zero.astype(np.float32)) * scale)
