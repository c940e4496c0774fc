"""The fusion gate: does ONNX Runtime really run a quantized graph with integer kernels?

A graph with QuantizeLinear and DequantizeLinear says what is meant. Whether it is done shows in
the graph that the runtime makes of it: a convolution that is left in float between two such
nodes is slower than the float model.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Container
from pathlib import Path

import msgspec
import onnx

from edgehaul_tools.export.runtime import open_optimized
from edgehaul_tools.quantize.graph import consumers_of
from edgehaul_tools.quantize.weights import WEIGHTED_OPS

INTEGER_OPS = frozenset(
    {
        "ConvInteger",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "QGemm",
        "QLinearConv",
        "QLinearMatMul",
    }
)
"""Kernels of ONNX Runtime that multiply integers."""
_FLOAT_OPS = WEIGHTED_OPS | {"FusedConv", "FusedGemm", "FusedMatMul", "LSTM"}


class Fusion(msgspec.Struct, frozen=True):
    """What ONNX Runtime makes of a quantized graph.

    Attributes:
        integer: Nodes that multiply integers.
        stray: Weighted nodes that were to be int8 and run in float, by name.
        requantized: Pairs of DequantizeLinear and QuantizeLinear with nothing between them.
        unfused: Operators, by kind, that are computed in float between such a pair though
            they were to be int8: there is no integer kernel for them.
        operators: How many nodes there are of each kind.
    """

    integer: int
    stray: tuple[str, ...] = ()
    requantized: int = 0
    unfused: dict[str, int] = {}
    operators: dict[str, int] = {}

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the gate is not met, in words; empty where it is."""
        lines = []
        if not self.integer:
            lines.append("no integer kernel is used at all")
        if self.stray:
            more = f" and {len(self.stray) - 1} more" if len(self.stray) > 1 else ""
            lines.append(f"{self.stray[0]}{more} was to be int8 and runs in float")
        if self.requantized:
            lines.append(f"{self.requantized} pairs only change a scale")
        return tuple(lines)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What costs time without being a fault, in words."""
        return tuple(
            f"{count} {kind} between int8 layers run in float: ONNX Runtime has no int8 kernel"
            for kind, count in sorted(self.unfused.items())
        )


def fusion_of(model: onnx.ModelProto, float_nodes: Container[str]) -> Fusion:
    """Let ONNX Runtime optimize a quantized model, and count what is in it then.

    Args:
        model: The quantized model.
        float_nodes: Names of the nodes that are to stay in float.

    Raises:
        ModelError: ONNX Runtime refuses the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimized.onnx")
        open_optimized(model, path)
        graph = onnx.load(str(path)).graph
    weights = {tensor.name for tensor in graph.initializer}
    stray = tuple(
        node.name
        for node in graph.node
        if node.op_type in _FLOAT_OPS
        and weights.intersection(node.input)
        and node.name not in float_nodes
    )
    requantized, unfused = _between_pairs(graph, float_nodes)
    operators = Counter(node.op_type for node in graph.node)
    return Fusion(
        integer=sum(operators[kind] for kind in INTEGER_OPS),
        stray=stray,
        requantized=requantized,
        unfused=unfused,
        operators=dict(sorted(operators.items())),
    )


def _between_pairs(
    graph: onnx.GraphProto, float_nodes: Container[str]
) -> tuple[int, dict[str, int]]:
    """Return how many pairs have nothing between them, and what stands between the others."""
    consumers = consumers_of(graph)
    opened = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    requantized = sum(
        1 for output in opened for reader in consumers[output] if reader.op_type == "QuantizeLinear"
    )
    unfused = Counter(
        node.op_type
        for node in graph.node
        if node.name not in float_nodes
        and node.op_type not in {"QuantizeLinear", "DequantizeLinear"}
        and any(name in opened for name in node.input)
        and any(r.op_type == "QuantizeLinear" for name in node.output for r in consumers[name])
    )
    return requantized, dict(sorted(unfused.items()))
