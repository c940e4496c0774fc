"""Bias correction: take the mean error that rounding adds to each channel off its bias.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction",
arXiv:1906.04721, section 4.2, in its empirical form. Layer by layer: a layer's error is measured
on what the quantized, already corrected layers before it hand on. Corrected all at once instead,
a layer would take off what earlier layers have taken off already.

One run over a batch does all layers: in the graph itself, each layer's output is brought to the
float mean before it goes on. In a graph that takes no batches, the layers in front of each are
run once more for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import ORT_ERRORS
from edgehaul_tools.quantize.channel_means import (
    Layer,
    Means,
    Measurement,
    brought_to_mean,
    less_given,
    observed,
)
from edgehaul_tools.quantize.graph import Unit

Array = NDArray[Any]
Build = Callable[[onnx.ModelProto], onnx.ModelProto]
"""Quantizes a float model: Q/DQ pairs around nodes that keep their names."""

_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})
_BIAS = 2
_BATCH_VALUES = 1_250_000
"""Input values of one batch: 8 pictures of 224 x 224 in colour."""
_MOST_IN_BATCH = 64
_REFUSALS: tuple[type[Exception], ...] = (ModelError, *ORT_ERRORS)


def corrected(
    model: onnx.ModelProto, build: Build, tensors: Sequence[Array], units: Sequence[Unit]
) -> onnx.ModelProto:
    """Return the float model with biases that make up for how ``build`` rounds it.

    It costs one ``build``, and one run of the float and the quantized model over the inputs. Of
    the quantized model there are half as many runs as layers where it takes no batches.

    Args:
        model: A cleaned float model.
        build: Quantizes it; called once here, and by the caller with what is returned.
        tensors: Calibration inputs with a batch of one each; 16 to 64 are enough.
        units: What to correct; MatMul has no bias and is left out.
    """
    layers = _layers(model, units)
    if not layers or not tensors:
        return model
    quantized, freed = build(model), _freed(model)
    if _takes_batches(freed, layers, tensors):
        errors = _in_batches(freed, _freed(quantized), layers, tensors)
    else:
        errors = _one_by_one(model, quantized, layers, tensors)
    return _less(model, layers, errors)


def bears_batches(model: onnx.ModelProto, tensors: Sequence[Array], units: Sequence[Unit]) -> bool:
    """Return whether several inputs can go through at once, which makes a correction cheap.

    Args:
        model: A cleaned float model.
        tensors: Two inputs or more, with a batch of one each.
        units: What is to be corrected.
    """
    layers = _layers(model, units)
    return bool(layers) and _takes_batches(_freed(model), layers, tensors)


def _in_batches(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    layers: Sequence[Layer],
    tensors: Sequence[Array],
) -> Means:
    expect = Measurement(model, layers, observed)
    measure = Measurement(quantized, layers, brought_to_mean)
    errors = {layer.name: np.zeros(layer.shape) for layer in layers}
    for batch in _batches(tensors):
        expected = expect({}, batch)
        found = measure(expected, batch)
        for name, mean in found.items():
            errors[name] += (mean - expected[name]) * (len(batch) / len(tensors))
    return errors


def _one_by_one(
    model: onnx.ModelProto,
    quantized: onnx.ModelProto,
    layers: Sequence[Layer],
    tensors: Sequence[Array],
) -> Means:
    expected = Measurement(model, layers, observed).over({}, tensors)
    measure = Measurement(quantized, layers, less_given)
    errors: Means = {layer.name: np.zeros(layer.shape, np.float32) for layer in layers}
    for layer in layers:
        mean = measure.over(errors, tensors, [layer])[layer.name]
        errors[layer.name] = mean - expected[layer.name]
    return errors


def _layers(model: onnx.ModelProto, units: Sequence[Unit]) -> list[Layer]:
    """Return the layers of the units that have a bias or may get one, in the graph's order."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    names = {unit.name for unit in units}
    found = []
    for node in model.graph.node:
        if node.name not in names or node.op_type not in _BIASED or node.input[1] not in weights:
            continue
        bias, shape = _bias_of(node), weights[node.input[1]].dims
        channels = _channels(node, shape)
        if bias and (bias not in weights or np.prod(weights[bias].dims) not in {1, channels}):
            continue
        found.append(Layer(node.name, len(shape), channels))
    return found


def _channels(node: onnx.NodeProto, shape: Sequence[int]) -> int:
    if node.op_type == "Gemm":
        return shape[0] if _number(node, "transB", 0) else shape[1]
    if node.op_type == "ConvTranspose":
        return shape[1] * int(_number(node, "group", 1))
    return shape[0]


def _bias_of(node: onnx.NodeProto) -> str:
    return node.input[_BIAS] if len(node.input) > _BIAS else ""


def _number(node: onnx.NodeProto, name: str, default: float) -> float:
    for attribute in node.attribute:
        if attribute.name == name:
            value: float = helper.get_attribute_value(attribute)
            return value
    return default


def _freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a free batch size, as far as input, types and Reshapes say."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    dims = freed.graph.input[0].type.tensor_type.shape.dim
    if dims and dims[0].HasField("dim_value"):
        dims[0].dim_param = "edgehaul.batch"
        del freed.graph.value_info[:]
        _free_reshapes(freed.graph)
    return freed


def _free_reshapes(graph: onnx.GraphProto) -> None:
    """Let Reshapes to a batch of one keep the batch that comes in."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).copy()
        if shape.size and shape[0] == 1:
            shape[0] = 0  # as in the input
            name = f"{node.name}.edgehaul.shape"
            graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name


def _takes_batches(
    freed: onnx.ModelProto, layers: Sequence[Layer], tensors: Sequence[Array]
) -> bool:
    """Return whether a batch of two gives the mean of both inputs in every layer."""
    pair = [tensors[0], tensors[-1]]
    try:
        expect = Measurement(freed, layers, observed)
        expected, found = expect.over({}, pair), expect({}, np.concatenate(pair))
    except _REFUSALS:
        return False
    return all(
        np.allclose(found[name], mean, rtol=1e-3, atol=1e-3 * np.abs(mean).max())
        for name, mean in expected.items()
    )


def _batches(tensors: Sequence[Array]) -> Iterator[Array]:
    size = max(4, min(_MOST_IN_BATCH, _BATCH_VALUES // max(1, tensors[0].size)))
    for start in range(0, len(tensors), size):
        yield np.concatenate(tensors[start : start + size])


def _less(model: onnx.ModelProto, layers: Sequence[Layer], errors: Means) -> onnx.ModelProto:
    """Return the model with the errors taken off the biases."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    biases = {tensor.name: tensor for tensor in result.graph.initializer}
    nodes = {node.name: node for node in result.graph.node}
    uses = Counter(name for node in result.graph.node for name in node.input)
    for layer in layers:
        node, error = nodes[layer.name], errors[layer.name].ravel()
        old = _bias_of(node)
        before = numpy_helper.to_array(biases[old]).ravel() if old else np.zeros(1, np.float32)
        beta = _number(node, "beta", 1.0)  # of Gemm
        after = (before - error / (beta or 1.0)).astype(np.float32)
        if old and uses[old] == 1:
            biases[old].CopyFrom(numpy_helper.from_array(after, old))
            continue
        name = f"{layer.name}.edgehaul.bias"
        result.graph.initializer.append(numpy_helper.from_array(after, name))
        inputs = [*node.input[:_BIAS], name]
        del node.input[:]
        node.input.extend(inputs)
    return result
