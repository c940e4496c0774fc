"""What cannot be quantized is refused before any work, with what to do instead."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
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

_PARAMETRIC_OPS = (
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
_QUANTIZED_OPS = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger", "GatherBlockQuantized"}
)
_QUANTIZED_STARTS = (
    "DynamicQuantize",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger",
    "MatMulNBits",
    "QAttention",
    "QEmbed",
    "QGemm",
    "QLinear",
    "QMoE",
    "QOrdered",
)
"""How the names of ONNX Runtime's own integer operators start."""
_FOREIGN_DOMAINS = frozenset({"com.microsoft.nchwc"})
_ONNX_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
_RUNTIME_DOMAINS = frozenset({"com.microsoft"})
"""Of these ONNX Runtime itself tells, when it opens the model, what it does not know."""
_FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)
_SHOWN_OPS = 3
_REMEDY_DAMAGED = "the file is truncated or damaged: export or download it again"


def refuse_unusable(model: onnx.ModelProto, path: Path) -> None:
    """Raise where a model, its external data loaded, cannot be quantized.

    Raises:
        ModelError: Always with what to do about it.
    """
    graph = model.graph
    if not graph.node or not graph.output:
        raise ModelError(
            "this is no ONNX model: it has no nodes or outputs",
            where=path,
            remedy="export or download the model again",
        )
    _refuse_names(model, path)
    _refuse_inputs(graph, path)
    _refuse_quantized(model, path)
    _refuse_operators(model, path)
    _refuse_types(model, path)
    _refuse_sparse(model, path)
    for tensor in tensors_of(model):
        _refuse_size(tensor, path)
    _refuse_values(model, path)


def _refuse_names(model: onnx.ModelProto, path: Path) -> None:
    try:
        weights = [tensor.name for tensor in model.graph.initializer]
        _ = [(node.name, *node.output, *node.input) for node in nodes_of(model)]
    except UnicodeDecodeError as error:
        raise ModelError(
            "a name in the model is not UTF-8", where=path, remedy=_REMEDY_DAMAGED
        ) from error
    if len(set(weights)) != len(weights):
        twice = Counter(weights).most_common(1)[0][0]
        raise ModelError(
            f"two weights have the name {shown(twice)}",
            where=path,
            remedy="export the model again",
        )


def _refuse_inputs(graph: onnx.GraphProto, path: Path) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = f" ({', '.join(value.name[:20] for value in inputs[:8])})" if inputs else ""
        raise ModelError(
            f"the model takes {len(inputs)} inputs{names}; only one is supported",
            where=path,
            remedy="export it with the picture or the window as its only input",
        )
    kind = inputs[0].type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(
            f"its input {shown(inputs[0].name)} is no tensor ({kind or 'no type'})",
            where=path,
            remedy="export it with a tensor (a picture or a window) as its only input",
        )
    sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim if d.HasField("dim_value")]
    if min(sizes, default=1) < 1:
        raise ModelError(
            f"its input {shown(inputs[0].name)} has a dimension of {min(sizes)}",
            where=path,
            remedy="export it with real sizes, or with named free dimensions",
        )


def _refuse_quantized(model: onnx.ModelProto, path: Path) -> None:
    kinds = {node.op_type for node in nodes_of(model)}
    found = sorted(k for k in kinds if k in _QUANTIZED_OPS or k.startswith(_QUANTIZED_STARTS))
    if found:
        raise ModelError(
            f"the model is already quantized ({', '.join(found[:_SHOWN_OPS])})",
            where=path,
            remedy="start from the float model that it was made of",
        )


def _refuse_operators(model: onnx.ModelProto, path: Path) -> None:
    domains = {node.domain for node in nodes_of(model)}
    foreign = domains & _FOREIGN_DOMAINS
    if foreign:
        raise ModelError(
            f"the model was optimized for one processor (nodes of {min(foreign)})",
            where=path,
            remedy="start from the model before ONNX Runtime's layout optimization",
        )
    newest = onnx.defs.onnx_opset_version()
    version = max((e.version for e in model.opset_import if not e.domain), default=1)
    if version > newest:
        raise ModelError(
            f"opset {version} is newer than what the installed onnx knows ({newest})",
            where=path,
            remedy=f"update onnx and onnxruntime, or export with opset {newest} or older",
        )
    unknown = sorted(
        {f"{node.domain or 'ai.onnx'}:{node.op_type}" for node in nodes_of(model) if _alien(node)}
    )
    if unknown:
        names = ", ".join(shown(name)[1:-1] for name in unknown[:_SHOWN_OPS])
        more = f" and {len(unknown) - _SHOWN_OPS} more" if len(unknown) > _SHOWN_OPS else ""
        raise ModelError(
            f"ONNX Runtime knows no such operators: {names}{more}",
            where=path,
            remedy="export the model with standard ONNX operators alone: neither the tools nor "
            "the boxes load libraries of custom ones",
        )


def _alien(node: onnx.NodeProto) -> bool:
    if node.domain in _RUNTIME_DOMAINS:
        return False
    return node.domain not in _ONNX_DOMAINS or not onnx.defs.has(
        node.op_type, domain="" if node.domain == "ai.onnx" else node.domain
    )


def _refuse_types(model: onnx.ModelProto, path: Path) -> None:
    """Refuse bfloat16 anywhere, and fp64 where it is computed with."""
    tensors = {t.data_type for t in tensors_of(model)}
    values = {v.type.tensor_type.elem_type for v in (*model.graph.input, *model.graph.output)}
    if TensorProto.BFLOAT16 in tensors | values:
        _refuse_type("bfloat16", path)
    inputs = {value.type.tensor_type.elem_type for value in model.graph.input}
    doubles = {n for n, t in named_tensors(model) if t.data_type == TensorProto.DOUBLE}
    learnt = (n for n in nodes_of(model) if n.op_type in _PARAMETRIC_OPS)
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
            remedy=_REMEDY_DAMAGED,
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
            remedy=_REMEDY_DAMAGED,
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
                remedy=_REMEDY_DAMAGED,
            )


def _refuse_broken(name: str, tensor: onnx.TensorProto, readers: Iterable[str], path: Path) -> None:
    try:
        values = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ModelError(
            f"weight {shown(name)} cannot be read: {first_line(error)}",
            where=path,
            remedy=_REMEDY_DAMAGED,
        ) from error
    if values.itemsize == 2:  # noqa: PLR2004 - fp16: numpy is slow on it
        values = values.astype(np.float32)
    learnt = not _PARAMETRIC_OPS.isdisjoint(readers)
    if np.isnan(values).any() or (learnt and not np.isfinite(values).all()):
        raise ModelError(
            f"weight {shown(name)} holds NaN or infinite values",
            where=path,
            remedy="the training diverged: train again, or take an earlier checkpoint",
        )
