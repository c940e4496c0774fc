"""What cannot be quantized is refused before any work, with what to do instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx

from edgehaul.errors import ModelError
from edgehaul_tools.quantize.tensors import graphs_of, nodes_of, shown
from edgehaul_tools.quantize.weights import REMEDY_DAMAGED, refuse_weights

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
_SHOWN_OPS = 3


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
    _refuse_wiring(graph, path)
    _refuse_quantized(model, path)
    _refuse_operators(model, path)
    refuse_weights(model, path)


def _refuse_names(model: onnx.ModelProto, path: Path) -> None:
    # protobuf gives a name that is not UTF-8 as bytes, on which much code breaks later.
    texts: list[object] = [text for e in model.metadata_props for text in (e.key, e.value)]
    for graph in graphs_of(model):
        values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
        texts += [graph.name, *(value.name for value in values)]
        texts += [v.dim_param for info in values for v in _dims_of(info)]
        for node in graph.node:
            texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
    if any(isinstance(text, bytes) for text in texts):
        raise ModelError("a name in the model is not UTF-8", where=path, remedy=REMEDY_DAMAGED)


def _dims_of(
    value: onnx.ValueInfoProto | onnx.TensorProto,
) -> Iterable[onnx.TensorShapeProto.Dimension]:
    if isinstance(value, onnx.TensorProto):
        return ()
    dims: Iterable[onnx.TensorShapeProto.Dimension] = value.type.tensor_type.shape.dim
    return dims


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


def _refuse_wiring(graph: onnx.GraphProto, path: Path) -> None:
    """Refuse tensors that nothing makes, or that two nodes make, in the main graph.

    The checker of onnx finds them too, but calls each a graph that is not sorted.
    """
    given = Counter([*(t.name for t in graph.initializer), *(v.name for v in graph.input)])
    made = Counter(name for node in graph.node for name in node.output if name)
    read = (name for node in graph.node for name in node.input if name)
    wanted = [*read, *(value.name for value in graph.output)]
    sparse = {tensor.values.name for tensor in graph.sparse_initializer}
    lost = next((n for n in wanted if n not in made and n not in given and n not in sparse), None)
    if lost is not None:
        raise ModelError(
            f"a weight or node is missing: nothing makes {shown(lost)}, which the graph reads",
            where=path,
            remedy=REMEDY_DAMAGED,
        )
    weights = Counter(tensor.name for tensor in graph.initializer)
    twice = [name for name, count in made.items() if count > 1 or name in given]
    twice += [name for name, count in weights.items() if count > 1]
    if twice:
        raise ModelError(
            f"two nodes or weights have the name {shown(twice[0])}",
            where=path,
            remedy="export the model again",
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
