"""How much noise each unit adds to the model's answers when it alone is quantized.

One model carries all units: behind the input and the weight of each, ``x + s * (q(x) - x)``
with a switch ``s`` that is an input of the graph, so that a sweep needs one session only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgehaul_tools.export.runtime import open_model
from edgehaul_tools.quantize.calibrate import Ranges
from edgehaul_tools.quantize.graph import Unit
from edgehaul_tools.quantize.saturation import NARROW, WeightBits
from edgehaul_tools.quantize.weight_scales import bearable_scales, channel_axis

_SWITCHES = "edgehaul.switches"
_ACTIVATION_LEVELS = 255
_WEIGHT = 1
"""The input slot of a layer's weight."""


def unit_noise(
    model: onnx.ModelProto,
    units: Sequence[Unit],
    ranges: Ranges,
    tensors: Sequence[NDArray[Any]],
    distance_of: Callable[[Sequence[Sequence[NDArray[Any]]]], float],
    weight_bits: WeightBits = 8,
) -> dict[str, float]:
    """Return how far the answers move when each unit alone is quantized.

    Args:
        model: A cleaned float model.
        units: The units to try, one after the other.
        ranges: Range of every activation.
        tensors: A few inputs with objects in them.
        distance_of: From the outputs for each tensor to their distance from the float ones.
        weight_bits: Width of the weights.
    """
    session = open_model(_switched(model, units, ranges, weight_bits))
    feed = session.get_inputs()[0].name
    noise = {}
    for index, unit in enumerate(units):
        switches = np.zeros(len(units), dtype=np.float32)
        switches[index] = 1
        noise[unit.name] = distance_of(
            [session.run(None, {feed: tensor, _SWITCHES: switches}) for tensor in tensors]
        )
    return noise


def _switched(
    model: onnx.ModelProto, units: Sequence[Unit], ranges: Ranges, weight_bits: WeightBits
) -> onnx.ModelProto:
    switched = onnx.ModelProto()
    switched.CopyFrom(model)
    graph = switched.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    index_of = {name: i for i, unit in enumerate(units) for name in unit.nodes}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        index = index_of.get(node.name)
        if index is not None:
            for slot, name in enumerate(node.input[:2]):
                if name in ranges:
                    nodes += _noisy_activation(
                        graph, f"{node.name}.{slot}", name, ranges[name], index
                    )
                elif slot == _WEIGHT and name in weights:
                    nodes += _noisy_weight(graph, node, weights[name], index, weight_bits)
                else:
                    continue
                node.input[slot] = f"{node.name}.{slot}.noisy"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(
        helper.make_tensor_value_info(_SWITCHES, onnx.TensorProto.FLOAT, [len(units)])
    )
    return switched


def _noisy_activation(
    graph: onnx.GraphProto, stem: str, name: str, bounds: tuple[float, float], index: int
) -> list[onnx.NodeProto]:
    low, high = bounds
    step = max((high - low) / _ACTIVATION_LEVELS, 1e-9)
    zero = int(np.clip(np.rint(-low / step), 0, _ACTIVATION_LEVELS))
    _add(graph, f"{stem}.scale", np.array(step, np.float32))
    _add(graph, f"{stem}.zero", np.array(zero, np.uint8))
    quantization = [f"{stem}.scale", f"{stem}.zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *quantization], [f"{stem}.integer"]),
        helper.make_node("DequantizeLinear", [f"{stem}.integer", *quantization], [f"{stem}.back"]),
        helper.make_node("Sub", [f"{stem}.back", name], [f"{stem}.difference"]),
        *_switch(graph, stem, name, index),
    ]


def _noisy_weight(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    tensor: onnx.TensorProto,
    index: int,
    weight_bits: WeightBits,
) -> list[onnx.NodeProto]:
    weight = numpy_helper.to_array(tensor)
    step = _weight_step(node, weight, weight_bits)
    stem = f"{node.name}.{_WEIGHT}"
    _add(graph, f"{stem}.difference", (np.rint(weight / step) * step - weight).astype(np.float32))
    return _switch(graph, stem, tensor.name, index)


def _weight_step(
    node: onnx.NodeProto, weight: NDArray[Any], weight_bits: WeightBits
) -> NDArray[Any]:
    """Return the step of each channel, of a shape that fits to the weight's."""
    axis = channel_axis(node)
    scales = bearable_scales(node, weight) if weight_bits == NARROW else None
    if scales is not None and axis is not None:
        return np.expand_dims(scales, [i for i in range(weight.ndim) if i != axis])
    axes = tuple(range(1, weight.ndim))
    levels = 2 ** (weight_bits - 1) - 1
    step: NDArray[Any] = np.maximum(np.abs(weight).max(axis=axes, keepdims=True), 1e-9) / levels
    return step


def _switch(graph: onnx.GraphProto, stem: str, name: str, index: int) -> list[onnx.NodeProto]:
    _add(graph, f"{stem}.index", np.array([index], np.int64))
    return [
        helper.make_node("Gather", [_SWITCHES, f"{stem}.index"], [f"{stem}.switch"]),
        helper.make_node("Mul", [f"{stem}.difference", f"{stem}.switch"], [f"{stem}.part"]),
        helper.make_node("Add", [name, f"{stem}.part"], [f"{stem}.noisy"]),
    ]


def _add(graph: onnx.GraphProto, name: str, values: NDArray[Any]) -> None:
    graph.initializer.append(numpy_helper.from_array(values, name))
