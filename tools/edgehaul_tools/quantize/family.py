"""What kind of network a graph is, and by which route it becomes int8."""

from __future__ import annotations

from typing import Literal

import msgspec
import onnx

from edgehaul.bundle.spec import ModelSpec
from edgehaul.vision.verdicts import ANOMALY_HEADS
from edgehaul_tools.quantize.graph import consumers_of, divide
from edgehaul_tools.quantize.weights import RECURRENT_OPS

Family = Literal["convolutional", "detector", "autoencoder", "attention", "recurrent", "dense"]
Route = Literal["static", "dynamic"]
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


class FamilyRoutes(msgspec.Struct, frozen=True):
    """How networks of one family become int8.

    Attributes:
        routes: In the order in which they are tried.
        why: What was measured.
        elementwise_float: Whether additions, norms and softmax stay in float beside the
            weighted layers.
    """

    routes: tuple[Route, ...]
    why: str
    elementwise_float: bool = False


ROUTES: dict[Family, FamilyRoutes] = {
    "convolutional": FamilyRoutes(
        ("static",), "static int8 fuses; ranged while it runs it is five times slower"
    ),
    "detector": FamilyRoutes(
        ("static",), "static int8, all but the tail: boxes and scores must not share a scale"
    ),
    "autoencoder": FamilyRoutes(
        ("static",), "static int8; Resize and Conv, as ConvTranspose has no int8 kernel"
    ),
    "attention": FamilyRoutes(
        ("dynamic", "static"),
        "its matrices alone: norms and softmax cost more in int8",
        elementwise_float=True,
    ),
    "recurrent": FamilyRoutes(
        ("dynamic",), "an int8 kernel is there for LSTM alone, with ranges found while it runs"
    ),
    "dense": FamilyRoutes(("static", "dynamic"), "matrices: both ways are tried"),
}


def family_of(model: onnx.ModelProto, spec: ModelSpec) -> Family:
    """Return what kind of network a cleaned graph is."""
    kinds = {node.op_type for node in model.graph.node}
    if kinds & RECURRENT_OPS:
        return "recurrent"
    if spec.task == "detect":
        return "detector"
    if _has_attention(model.graph):
        return "attention"
    if spec.output.head in ANOMALY_HEADS:
        return "autoencoder"
    return "convolutional" if kinds & _CONVOLUTIONS else "dense"


def advice_for(model: onnx.ModelProto) -> str:
    """Return what would make int8 worth more for this network; empty where nothing would."""
    kinds = {node.op_type for node in model.graph.node}
    if "GRU" in kinds or "RNN" in kinds:
        return (
            "ONNX Runtime has no int8 kernel for GRU and RNN, only for LSTM: train the same recipe "
            "with network: lstm to gain by int8"
        )
    if "ConvTranspose" in kinds:
        return "ConvTranspose stays in float: Resize and Conv in its place gain by int8"
    if _has_swish(model.graph):
        return "ReLU in place of SiLU or HardSwish gains more by int8"
    return ""


def _has_swish(graph: onnx.GraphProto) -> bool:
    """Return whether ``x * sigmoid(x)`` or its hard form stands among the layers.

    The sigmoid of scores, or of a gate on other values (squeeze and excitation), is none.
    """
    division = divide(graph)
    outside = {*division.entry, *division.tail}
    outside -= {name for unit in division.units for name in unit.nodes}
    consumers = consumers_of(graph)
    for node in graph.node:
        if node.name in outside:
            continue
        if node.op_type == "HardSwish":
            return True
        if node.op_type in {"Sigmoid", "HardSigmoid"}:
            own = {node.input[0], node.output[0]}
            readers = consumers[node.output[0]]
            if any(reader.op_type == "Mul" and own == set(reader.input) for reader in readers):
                return True
    return False


def _has_attention(graph: onnx.GraphProto) -> bool:
    """Return whether a softmax goes into a product of two activations."""
    weights = {tensor.name for tensor in graph.initializer}
    softmaxed = {node.output[0] for node in graph.node if node.op_type == "Softmax"}
    return any(
        node.op_type == "MatMul"
        and softmaxed.intersection(node.input)
        and not weights.intersection(node.input)
        for node in graph.node
    )
