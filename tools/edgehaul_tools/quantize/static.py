"""Static int8: activations with one range each, measured beforehand."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantType  # type: ignore[import-untyped]  # no stubs
from onnxruntime.quantization.calibrate import TensorData, TensorsData  # type: ignore[import-untyped]  # no stubs
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer  # type: ignore[import-untyped]  # no stubs
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer  # type: ignore[import-untyped]  # no stubs
from onnxruntime.quantization.quant_utils import QuantizationMode  # type: ignore[import-untyped]  # no stubs
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry  # type: ignore[import-untyped]  # no stubs

from edgehaul_tools.quantize.byte_tensors import without_float_input
from edgehaul_tools.quantize.calibrate import Ranges
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import consumers_of
from edgehaul_tools.quantize.hard_gates import fold_rescalings, with_integer_gates
from edgehaul_tools.quantize.learnt_ranges import learnt_ranges
from edgehaul_tools.quantize.row_constants import repeat_along_rows
from edgehaul_tools.quantize.weight_scales import ScaleOverrides, scale_overrides

U8S8 = Form()
"""The fastest for convolutions on x86."""
_BIASED_OPS = frozenset({"Conv", "Gemm"})
_BIAS = 2
"""Place of the bias among a layer's inputs."""
_GUARDED_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MaxPool"})


def quantize_static(
    model: onnx.ModelProto,
    ranges: Ranges,
    *,
    float_nodes: Iterable[str],
    form: Form = U8S8,
) -> onnx.ModelProto:
    """Return the model in int8, but for its float nodes.

    Args:
        model: A cleaned float model. If it carries learnt ranges, weights of seven bits take
            the steps that they were trained with.
        ranges: Range of every activation.
        float_nodes: Names of the nodes that stay in float.
        form: Which numbers, scales and operators; not ``dynamic``.
    """
    kept = set(float_nodes)
    source, every = with_integer_gates(model, ranges, kept)
    # What was trained with weights rounded to seven bits answers best with those very weights.
    scales = {} if learnt_ranges(model) else scale_overrides(source.graph, form, kept)
    quantizer = _quantizer(source, every, kept, form, scales)
    with quiet_quantizer():
        quantizer.quantize_model()
    result: onnx.ModelProto = quantizer.model.model
    if form.representation == "qdq":
        guard_float_nodes(result, kept)
        fold_rescalings(result)
    without_float_input(result)
    repeat_along_rows(result)
    return result


def _quantizer(
    model: onnx.ModelProto, ranges: Ranges, kept: set[str], form: Form, scales: ScaleOverrides
) -> QDQQuantizer | ONNXQuantizer:
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    signed = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    options = {
        "per_channel": form.per_channel,
        "reduce_range": form.reduce_range,
        "weight_qType": signed[form.weights],
        "activation_qType": signed[form.activations],
        "tensors_range": TensorsData(CalibrationMethod.MinMax, data),
        "nodes_to_quantize": [],
        "nodes_to_exclude": sorted(kept),
        "extra_options": {"TensorQuantOverrides": scales},
    }
    if form.representation == "qoperator":
        _give_own_biases(model.graph)
        return ONNXQuantizer(
            model,
            mode=QuantizationMode.QLinearOps,
            static=True,
            op_types_to_quantize=sorted(QLinearOpsRegistry),
            **options,
        )
    every = sorted({*QLinearOpsRegistry, *QDQRegistry})
    return QDQQuantizer(model, op_types_to_quantize=every, **options)


def _give_own_biases(graph: onnx.GraphProto) -> None:
    """Give each layer a bias of its own; changes the graph in place.

    An integer bias is in steps of its layer's input and weights. ONNX Runtime rounds a bias that
    layers share for the first of them alone, and the others go wrong without a word.
    """
    values = {tensor.name: tensor for tensor in graph.initializer}
    taken: set[str] = set()
    for node in graph.node:
        if node.op_type not in _BIASED_OPS or len(node.input) <= _BIAS:
            continue
        bias = node.input[_BIAS]
        if bias in taken and bias in values:
            own = onnx.TensorProto()
            own.CopyFrom(values[bias])
            own.name = node.input[_BIAS] = f"{node.name}.bias"
            graph.initializer.append(own)
        taken.add(bias)


@contextmanager
def quiet_quantizer() -> Iterator[None]:
    """Keep ONNX Runtime's quantizer, which logs through the root logger, from the operator."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def guard_float_nodes(model: onnx.ModelProto, float_nodes: Container[str]) -> int:
    """Keep ONNX Runtime from quantizing nodes that are to stay in float.

    Its optimizer turns ``DequantizeLinear -> Conv (float weight) -> [Relu|Clip] ->
    QuantizeLinear`` into an integer convolution with per-tensor weights, and moves
    QuantizeLinear and DequantizeLinear across a MaxPool, which it then runs on bytes in a
    kernel that took 26 ms instead of 0.1 ms on YOLOX-nano. An identity
    (``LeakyRelu(alpha=1)``) between breaks both patterns and costs next to nothing; behind
    a convolution it is fused.

    Args:
        model: A model with QDQ pairs; changed in place.
        float_nodes: Names of the nodes that are to stay in float.

    Returns:
        How many identities were put in.
    """
    graph = model.graph
    consumers = consumers_of(graph)
    dequantized = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in float_nodes or node.op_type not in _GUARDED_OPS:
            nodes.append(node)
            continue
        if node.op_type == "MaxPool" and node.input[0] in dequantized:
            source, node.input[0] = node.input[0], f"{node.name}.guarded_input"
            nodes.append(_identity(f"{node.name}.guard_input", source, node.input[0]))
        nodes.append(node)
        if _is_requantized(node.output[0], consumers):
            output, node.output[0] = node.output[0], f"{node.name}.guarded_output"
            nodes.append(_identity(f"{node.name}.guard_output", node.output[0], output))
    added = len(nodes) - len(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return added


def _identity(name: str, source: str, output: str) -> onnx.NodeProto:
    return onnx.helper.make_node("LeakyRelu", [source], [output], name=name, alpha=1.0)


def _is_requantized(output: str, consumers: defaultdict[str, list[onnx.NodeProto]]) -> bool:
    following = consumers[output]
    if len(following) == 1 and following[0].op_type in {"Relu", "Clip"}:
        following = consumers[following[0].output[0]]
    return any(node.op_type == "QuantizeLinear" for node in following)
