"""An ONNX model as a graph: cleaned up, and divided for quantization."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import version_converter

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import first_line
from edgehaul_tools.quantize.half_precision import is_half, to_single
from edgehaul_tools.quantize.loading import load_model as load_model  # noqa: PLC0414 - the pair of clean
from edgehaul_tools.quantize.weights import RECURRENT_OPS, WEIGHTED_OPS

_log = logging.getLogger(__name__)

MINIMUM_OPSET = 13
"""Per-channel QuantizeLinear came with opset 13."""

_ACTIVATIONS = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Mul"}
)
_SLIM_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,  # recursion included
    TypeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    version_converter.ConvertError,
)
"""What onnxslim raises on graphs that it does not expect. Of a valid one the rest can be done
without it; an invalid one is refused by the checker."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is quantized, or left in float, as one: a weighted node and its activation.

    Splitting the two is never right: a float convolution between quantized tensors would be
    re-quantized by ONNX Runtime itself, per tensor and uncalibrated.

    Attributes:
        name: Name of the weighted node.
        nodes: Names of all nodes, the weighted one first.
        output: The tensor that leaves the unit.
    """

    name: str
    nodes: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Division:
    """Which parts of a graph are quantized.

    Attributes:
        entry: Nodes before the first weighted node (slicing, normalisation): float, since
            integer kernels gain nothing there.
        units: The weighted nodes with their activations, in order.
        last: Names of the units from which no other unit is reached: the head's last layers.
        tail: Nodes behind the last units (box decoding, sigmoid, concat of boxes and
            scores): float, since boxes and scores must not share a scale.
    """

    entry: tuple[str, ...]
    units: tuple[Unit, ...]
    last: tuple[str, ...]
    tail: tuple[str, ...]


def clean(model: onnx.ModelProto, *, where: Path) -> onnx.ModelProto:
    """Return the same computation in the form that quantizes best.

    fp16 becomes fp32, initializers leave the inputs, unused operator sets go, constants and batch
    normalisation are folded, the opset is raised to the oldest with per-channel scales,
    shapes are inferred and every node has a name of its own.

    Raises:
        ModelError: The graph is invalid or its opset cannot be raised.
    """
    cleaned = onnx.ModelProto()
    cleaned.CopyFrom(model)
    if is_half(cleaned):
        to_single(cleaned)
    _drop_initializers_from_inputs(cleaned.graph)
    _drop_unused_opsets(cleaned)
    cleaned = _slimmed(_with_newer_opset(cleaned, where), where)
    try:
        cleaned = onnx.shape_inference.infer_shapes(cleaned)
        onnx.checker.check_model(cleaned)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"the graph is invalid: {first_line(error)}", where=where, remedy="export it again"
        ) from error
    _name_nodes(cleaned.graph)
    return cleaned


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Name each node otherwise than all others: the standard allows one name for several."""
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{index}"
        while node.name in taken:
            node.name += "_"
        taken.add(node.name)


def _slimmed(model: onnx.ModelProto, where: Path) -> onnx.ModelProto:
    import onnxslim  # type: ignore[import-untyped] # noqa: PLC0415 - no stubs; 0.8 s to import

    try:
        slimmed: onnx.ModelProto = onnxslim.slim(model)
    except _SLIM_ERRORS as error:
        _log.warning(
            "%s: onnxslim fails on it (%s: %s); going on with the graph as it is",
            where,
            type(error).__name__,
            first_line(error),
        )
        return model
    return slimmed


def is_recurrent(model: onnx.ModelProto) -> bool:
    """Return whether the model holds recurrent layers."""
    return any(node.op_type in RECURRENT_OPS for node in model.graph.node)


def divide(graph: onnx.GraphProto) -> Division:
    """Return which nodes of a cleaned graph are worth quantizing."""
    consumers = consumers_of(graph)
    weights = {tensor.name for tensor in graph.initializer}
    ahead: dict[str, bool] = {}  # whether a weighted node is reached from the node
    for node in reversed(graph.node):
        following = [c for output in node.output for c in consumers[output]]
        ahead[node.name] = any(_is_weighted(c, weights) or ahead[c.name] for c in following)
    behind: set[str] = set()  # tensors that a weighted node has gone into
    entry, tail, units, last = [], [], [], []
    for node in graph.node:
        if _is_weighted(node, weights):
            unit = _unit_of(node, consumers)
            units.append(unit)
            if not ahead[node.name]:
                last.append(unit.name)
        elif not ahead[node.name]:
            tail.append(node.name)
        elif not behind.intersection(node.input):
            entry.append(node.name)
        if _is_weighted(node, weights) or behind.intersection(node.input):
            behind.update(node.output)
    return Division(tuple(entry), tuple(units), tuple(last), tuple(tail))


def float_region(graph: onnx.GraphProto, division: Division, units: Iterable[str]) -> set[str]:
    """Return the nodes that stay in float when ``units`` do: entry and tail included.

    A node between float nodes alone (a pooling, a concat) stays in float too: to quantize
    just for it costs time and gains nothing.
    """
    chosen = set(units)
    within = {name for unit in division.units for name in unit.nodes}
    region = {*division.entry, *division.tail}
    region.update(n for unit in division.units if unit.name in chosen for n in unit.nodes)
    producer = {output: node.name for node in graph.node for output in node.output}
    consumers = consumers_of(graph)
    for node in graph.node:
        sources = [producer[name] for name in node.input if name in producer]
        if node.name not in within and sources and region.issuperset(sources):
            region.add(node.name)
    for node in reversed(graph.node):
        readers = [reader.name for name in node.output for reader in consumers[name]]
        if node.name not in within and readers and region.issuperset(readers):
            region.add(node.name)
    return region


def consumers_of(graph: onnx.GraphProto) -> defaultdict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each tensor."""
    consumers: defaultdict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)
    return consumers


def _unit_of(node: onnx.NodeProto, consumers: defaultdict[str, list[onnx.NodeProto]]) -> Unit:
    """Return a weighted node with the activation behind it (``x * sigmoid(x)`` included)."""
    names = [node.name]
    output = node.output[0]
    for _ in range(2):
        following = consumers[output]
        kinds = sorted(f.op_type for f in following)
        if kinds == ["Mul", "Sigmoid"]:
            sigmoid, multiply = sorted(following, key=lambda f: f.op_type, reverse=True)
            if sigmoid.output[0] not in multiply.input:
                break
            names += [sigmoid.name, multiply.name]
            return Unit(node.name, tuple(names), multiply.output[0])
        if len(following) != 1 or following[0].op_type not in _ACTIVATIONS - {"Mul"}:
            break
        names.append(following[0].name)
        output = following[0].output[0]
    return Unit(node.name, tuple(names), output)


def _is_weighted(node: onnx.NodeProto, weights: set[str]) -> bool:
    return node.op_type in WEIGHTED_OPS and any(name in weights for name in node.input[:2])


def _drop_initializers_from_inputs(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(kept)


def _drop_unused_opsets(model: onnx.ModelProto) -> None:
    used = {node.domain for node in model.graph.node}
    kept = [entry for entry in model.opset_import if not entry.domain or entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _with_newer_opset(model: onnx.ModelProto, where: Path) -> onnx.ModelProto:
    version = max((e.version for e in model.opset_import if not e.domain), default=1)
    if version >= MINIMUM_OPSET:
        return model
    try:
        raised = version_converter.convert_version(model, MINIMUM_OPSET)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ModelError(
            f"opset {version} cannot be raised to {MINIMUM_OPSET}: {first_line(error)}",
            where=where,
            remedy=f"export the model with opset {MINIMUM_OPSET} or newer",
        ) from error
    raised.ir_version = max(raised.ir_version, 7)
    _log.debug("opset raised from %d to %d", version, MINIMUM_OPSET)
    return raised
