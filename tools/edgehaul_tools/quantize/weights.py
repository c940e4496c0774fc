"""The weights of a model: as many as their shapes ask for, finite, and of a usable type."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import first_line
from edgehaul_tools.quantize.tensors import (
    graphs_of,
    named_tensors,
    nodes_of,
    shown,
    tensors_of,
)

WEIGHTED_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
RECURRENT_OPS = frozenset({"LSTM", "GRU", "RNN"})

PARAMETRIC_OPS = (
    WEIGHTED_OPS
    | RECURRENT_OPS
    | {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "PRelu",
    }
)
"""Whose constants are learnt. Elsewhere infinity has its use: masks, limits of Clip."""
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
REMEDY_DAMAGED = "the file is truncated or damaged: export or download it again"


def refuse_weights(model: onnx.ModelProto, path: Path) -> None:
    """Raise where weights, external ones loaded, are broken or of a type without an int8 form.

    Raises:
        ModelError: Always with what to do about it.
    """
    _refuse_types(model, path)
    _refuse_sparse(model, path)
    for tensor in tensors_of(model):
        _refuse_size(tensor, path)
    _refuse_values(model, path)


def _refuse_types(model: onnx.ModelProto, path: Path) -> None:
    """Refuse bfloat16 anywhere, and fp64 where it is computed with."""
    tensors = {t.data_type for t in tensors_of(model)}
    values = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    if TensorProto.BFLOAT16 in tensors | values:
        _refuse_type("bfloat16", path)
    inputs = {value.type.tensor_type.elem_type for value in model.graph.input}
    doubles = {n for n, t in named_tensors(model) if t.data_type == TensorProto.DOUBLE}
    learnt = (n for n in nodes_of(model) if n.op_type in PARAMETRIC_OPS)
    if TensorProto.DOUBLE in inputs or any(doubles.intersection(n.input) for n in learnt):
        _refuse_type("fp64", path)


def _refuse_type(name: str, path: Path) -> None:
    raise ModelError(
        f"the model is {name}, which has no int8 form",
        where=path,
        remedy="export it in fp32 (in PyTorch: model.float() before the export), then quantize",
    )


def _refuse_sparse(model: onnx.ModelProto, path: Path) -> None:
    if any(graph.sparse_initializer for graph in graphs_of(model)):
        raise ModelError(
            "the model stores weights as sparse tensors",
            where=path,
            remedy="export it with dense weights",
        )


def _refuse_size(tensor: onnx.TensorProto, path: Path) -> None:
    """Refuse a tensor whose shape asks for another number of bytes than it has."""
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        raise ModelError(
            f"weight {shown(tensor.name)} has no type that the tools know",
            where=path,
            remedy=REMEDY_DAMAGED,
        ) from None
    wanted = math.prod(tensor.dims)
    fits = min(tensor.dims, default=1) >= 0
    if tensor.HasField("raw_data") and width >= 1 and tensor.data_type not in _PACKED:
        fits = fits and len(tensor.raw_data) == wanted * width
    elif not tensor.HasField("raw_data"):
        fits = fits and wanted <= max(_stored(tensor), 0)
    if not fits:
        raise ModelError(
            f"weight {shown(tensor.name)} does not have the bytes that its shape needs",
            where=path,
            remedy=REMEDY_DAMAGED,
        )


_PACKED = frozenset(
    getattr(TensorProto, name)
    for name in ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
    if hasattr(TensorProto, name)
)
"""Types of which one byte holds several."""


def _stored(tensor: onnx.TensorProto) -> int:
    """Return an upper bound of how many elements the typed fields hold."""
    fields = (tensor.float_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    others = len(tensor.string_data) + 4 * len(tensor.int32_data)
    return max(*(len(field) for field in fields), others)


def _refuse_values(model: onnx.ModelProto, path: Path) -> None:
    readers: defaultdict[str, set[str]] = defaultdict(set)
    for node in nodes_of(model):
        _refuse_broken_attributes(node, path)
        for name in node.input:
            readers[name].add(node.op_type)
    for name, tensor in named_tensors(model):
        if tensor.data_type in _FLOATS:
            _refuse_broken(name, tensor, readers[name], path)


def _refuse_broken_attributes(node: onnx.NodeProto, path: Path) -> None:
    for attribute in node.attribute:
        if any(map(math.isnan, (attribute.f, *attribute.floats))):
            raise ModelError(
                f"attribute {shown(attribute.name)} of a {shown(node.op_type)} is NaN",
                where=path,
                remedy=REMEDY_DAMAGED,
            )


def _refuse_broken(name: str, tensor: onnx.TensorProto, readers: Iterable[str], path: Path) -> None:
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"weight {shown(name)} cannot be read: {first_line(error)}",
            where=path,
            remedy=REMEDY_DAMAGED,
        ) from error
    if values.itemsize == 2:  # noqa: PLR2004 - fp16: numpy is slow on it
        values = values.astype(np.float32)
    learnt = not PARAMETRIC_OPS.isdisjoint(readers)
    if np.isnan(values).any() or (learnt and not np.isfinite(values).all()):
        raise ModelError(
            f"weight {shown(name)} holds NaN or infinite values",
            where=path,
            remedy="the training diverged: train again, or take an earlier checkpoint",
        )
