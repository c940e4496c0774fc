"""The scales of a layer's weights: as fine as the processor that multiplies them bears.

Which products ONNX Runtime's kernels add in pairs was found by trying every pair of weights on
AVX2: in QLinearConv, QGemm, QLinearMatMul and MatMulInteger alike those of rows 0 and 1, 2 and
3, ... of the inner dimension. A convolution's inner dimension is (kernel, input channels of the
group), channels last. Convolutions with a channel a group have a kernel of their own, which adds
in 32 bits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.pair_sums import plain_scales, safe_scales

ScaleOverrides = dict[str, list[dict[str, Any]]]
"""ONNX Runtime's ``TensorQuantOverrides``: of a weight, one entry or one for each channel."""

_WEIGHT = 1
"""The input slot of the weight, in every operator here."""
_MATRIX = 2


def channel_axis(node: onnx.NodeProto) -> int | None:
    """Return along which axis of its weight a layer has output channels; none where unknown."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if _attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "MatMul" else None


def bearable_scales(node: onnx.NodeProto, weight: NDArray[Any]) -> NDArray[np.float32] | None:
    """Return the finest scale of each output channel at which no sum of products overflows.

    Args:
        node: A layer of U8 activations and S8 weights.
        weight: Its weight.

    Returns:
        (channels,) float32; none where it is not known which products are added in pairs.
    """
    axis = channel_axis(node)
    if axis is None or (node.op_type != "Conv" and weight.ndim != _MATRIX):
        return None
    ordered = np.moveaxis(weight, 1, -1) if node.op_type == "Conv" else weight
    rows = np.moveaxis(ordered, axis, 0).reshape(weight.shape[axis], -1).astype(np.float32)
    return plain_scales(rows) if _is_depthwise(node, weight) else safe_scales(rows)


def scale_overrides(
    graph: onnx.GraphProto, form: Form, float_nodes: Container[str]
) -> ScaleOverrides:
    """Return the scales that ONNX Runtime's quantizer is to take for a form's weights.

    Weights that are not named keep to ``reduce_range``, whatever multiplies them.

    Args:
        graph: Of a cleaned float model.
        form: A static form.
        float_nodes: Names of the nodes that stay in float.
    """
    overrides: ScaleOverrides = {}
    if not form.is_limited_by_pairs:
        return overrides
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers: defaultdict[str, list[tuple[int, onnx.NodeProto]]] = defaultdict(list)
    for node in graph.node:
        if node.name not in float_nodes:
            for slot, name in enumerate(node.input):
                readers[name].append((slot, node))
    for name in readers.keys() & weights.keys():
        axes = {channel_axis(node) if slot == _WEIGHT else None for slot, node in readers[name]}
        axis = axes.pop()
        if axis is None or axes:
            continue
        weight = numpy_helper.to_array(weights[name])
        scales = _shared_scales([node for _, node in readers[name]], weight)
        if scales is not None:
            overrides[name] = _entries(scales, weight, axis, per_channel=form.per_channel)
    return overrides


def _shared_scales(
    nodes: Sequence[onnx.NodeProto], weight: NDArray[Any]
) -> NDArray[np.float32] | None:
    """Return the scales that every layer bears which reads a weight."""
    each = [scales for node in nodes if (scales := bearable_scales(node, weight)) is not None]
    if len(each) < len(nodes):
        return None
    largest: NDArray[np.float32] = np.maximum.reduce(each)
    return largest


def _entries(
    scales: NDArray[np.float32], weight: NDArray[Any], axis: int, *, per_channel: bool
) -> list[dict[str, Any]]:
    if per_channel:
        return [{"axis": axis, "scale": scale, "zero_point": 0} for scale in scales]
    used = weight.any(axis=tuple(i for i in range(weight.ndim) if i != axis))
    # A larger scale than a channel needs is as safe; that of a channel of zeros is arbitrary.
    scale = scales[used].max() if used.any() else np.float32(1)
    return [{"scale": scale, "zero_point": 0}]


def _is_depthwise(node: onnx.NodeProto, weight: NDArray[Any]) -> bool:
    groups = _attribute(node, "group", 1)
    return node.op_type == "Conv" and groups > 1 and weight.shape[:2] == (groups, 1)


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(one.i) for one in node.attribute if one.name == name), default)
