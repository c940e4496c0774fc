"""All graphs, nodes and tensors of a model, those in branches and loops included."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

SHOWN_NAME = 60


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Yield the main graph, then those of branches and loops, in no special order."""
    waiting = [model.graph]  # a list, since a hostile model nests deeper than Python recurses
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    waiting.append(attribute.g)
                elif attribute.type == onnx.AttributeProto.GRAPHS:
                    waiting.extend(attribute.graphs)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of the model."""
    for graph in graphs_of(model):
        yield from graph.node


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor that a model holds: initializers, and constants of its nodes."""
    for graph in graphs_of(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from _constants_of(node)


def named_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield initializers and constants by the name under which nodes read them.

    The scope is left out: two branches may use one name for two tensors.
    """
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            yield tensor.name, tensor
        for node in graph.node:
            for tensor in _constants_of(node):
                yield (node.output[0] if node.output else node.name), tensor


def shown(name: str) -> str:
    """Return a name of the model for a message: quoted, printable, and short."""
    return repr(name if len(name) <= SHOWN_NAME else f"{name[:SHOWN_NAME]}...")


def _constants_of(node: onnx.NodeProto) -> Iterator[onnx.TensorProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t
        elif attribute.type == onnx.AttributeProto.TENSORS:
            yield from attribute.tensors
        elif attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
