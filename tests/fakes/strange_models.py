"""Models that are made to do harm, or that the tools cannot take: built with onnx alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

F32 = TensorProto.FLOAT
I64 = TensorProto.INT64
Value = onnx.ValueInfoProto


def value(name: str, kind: int = F32, shape: Sequence[int | str | None] | None = None) -> Value:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, values: object, dtype: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype), name)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    weights: Sequence[onnx.TensorProto] = (),
    *,
    inputs: Sequence[Value] | None = None,
    outputs: Sequence[Value] | None = None,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of a picture x (1x3x32x32) and an output y (1x3) unless said otherwise."""
    graph = helper.make_graph(
        list(nodes),
        "strange",
        [value("x", F32, [1, 3, 32, 32])] if inputs is None else list(inputs),
        [value("y", F32, [1, 3])] if outputs is None else list(outputs),
        list(weights),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def classifier(*between: onnx.NodeProto, **options: object) -> onnx.ModelProto:
    """A classifier: conv x -> c, the nodes given (c -> last), mean over the picture -> y.

    ``options``: weights more than the convolution's, opset, dtype of the weights, and ``weight``
    in its place.
    """
    dtype = options.get("dtype", np.float32)
    weight = options.get("weight")
    if weight is None:
        weight = np.random.default_rng(5).normal(0, 0.3, (3, 3, 3, 3))
    last = "last" if between else "c"
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model_of(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
            *between,
            helper.make_node("GlobalAveragePool", [last], ["mean"], name="pool"),
            helper.make_node("Flatten", ["mean"], ["y"], name="flat"),
        ],
        [numpy_helper.from_array(np.asarray(weight, dtype), "w"), *options.get("weights", ())],
        inputs=[value("x", kind, options.get("shape", [1, 3, 32, 32]))],
        outputs=[value("y", kind, [None, 3])],
        opset=int(options.get("opset", 17)),
        domains=options.get("domains", ()),
    )


def harmful_models() -> dict[str, onnx.ModelProto]:
    """Models that ask for all memory, all time or a crash, by what they do."""
    return {
        "10^12 elements": _expanded(10**12),
        "4 GB tensor": _expanded(10**9),
        "2^62 turns": _loop(),
        "range of 10^10": _sized("Range", ["zero", "many", "one"], {"many": 10**10}),
        "tiled 10^5 by 10^5": _tiled(),
        "padded by 10^9": _padded(),
        "resized by 10^5": _resized(),
        "dilated by 10^9": _convolved(dilations=[10**9, 10**9], pads=[10**9] * 4),
        "strides of nothing": _convolved(strides=[0, 0]),
        "groups of nothing": _convolved(group=0),
        "reshaped to overflow": _reshaped(),
        "one-hot of 10^11": _one_hot(),
        "random of 10^12": _random(),
        "quadratic": _quadratic(3000),
        "nested branches": _nested(25),
        "name of 10 MB": classifier(helper.make_node("Relu", ["c"], ["last"], "n" * 10_000_000)),
        "input of 10 MB name": _named("i" * 10_000_000),
        "huge input": classifier(shape=[1, 3, 10**6, 10**6]),
        "recursive function": _recursive(),
        "einsum": _einsum(),
    }


def _expanded(elements: int) -> onnx.ModelProto:
    return model_of(
        [
            helper.make_node("ConstantOfShape", ["size"], ["all"]),
            helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "sum"], ["y"]),
        ],
        [constant("size", [elements])],
    )


def _loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Relu", ["state"], ["next"]),
        ],
        "body",
        [value("turn", I64, []), value("go", TensorProto.BOOL, []), value("state", F32, [1, 3])],
        [value("go_on", TensorProto.BOOL, []), value("next", F32, [1, 3])],
    )
    return model_of(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Loop", ["turns", "true", "mean"], ["y"], body=body),
        ],
        [constant("turns", 2**62), constant("true", 1, np.bool_)],
    )


def _sized(kind: str, names: list[str], sizes: dict[str, int]) -> onnx.ModelProto:
    numbers = {"zero": 0, "one": 1, **sizes}
    return model_of(
        [
            helper.make_node(kind, names, ["all"]),
            helper.make_node("Cast", ["all"], ["float"], to=F32),
            helper.make_node("ReduceSum", ["float"], ["sum"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "sum"], ["y"]),
        ],
        [constant(name, number) for name, number in numbers.items()],
    )


def _tiled() -> onnx.ModelProto:
    node = helper.make_node("Tile", ["c", "times"], ["last"])
    return classifier(node, weights=[constant("times", [1, 1, 10**5, 10**5])])


def _padded() -> onnx.ModelProto:
    node = helper.make_node("Pad", ["c", "pads"], ["last"])
    return classifier(node, weights=[constant("pads", [0, 0, 0, 0, 0, 0, 10**9, 10**9])])


def _resized() -> onnx.ModelProto:
    node = helper.make_node("Resize", ["c", "", "scales"], ["last"], mode="nearest")
    return classifier(node, weights=[constant("scales", [1, 1, 1e5, 1e5], np.float32)])


def _convolved(**options: object) -> onnx.ModelProto:
    node = helper.make_node("Conv", ["c", "w"], ["last"], **options)
    return classifier(node)


def _reshaped() -> onnx.ModelProto:
    node = helper.make_node("Reshape", ["c", "shape"], ["last"])
    return classifier(node, weights=[constant("shape", [2**33, 2**33, 2**33, -1])])


def _one_hot() -> onnx.ModelProto:
    return model_of(
        [
            helper.make_node("OneHot", ["at", "depth", "values"], ["hot"]),
            helper.make_node("ReduceSum", ["hot"], ["sum"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "sum"], ["y"]),
        ],
        [constant("at", [1]), constant("depth", 10**11), constant("values", [0, 1], np.float32)],
    )


def _random() -> onnx.ModelProto:
    return model_of(
        [
            helper.make_node("RandomNormal", [], ["all"], shape=[10**6, 10**6]),
            helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "sum"], ["y"]),
        ]
    )


def _quadratic(length: int) -> onnx.ModelProto:
    """Each node concatenates all that came before."""
    nodes = [helper.make_node("Relu", ["c"], ["r0"])]
    for step in range(1, length):
        before = [f"r{i}" for i in range(max(0, step - 200), step)]
        nodes.append(helper.make_node("Sum", before, [f"r{step}"]))
    return classifier(*nodes, helper.make_node("Relu", [f"r{length - 1}"], ["last"]))


def _nested(depth: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["c"], ["b0"])], "g0", [], [value("b0", F32, [1, 3, 32, 32])]
    )
    for level in range(1, depth):
        branch = helper.make_node(
            "If", ["true"], [f"b{level}"], then_branch=graph, else_branch=_relu(level)
        )
        graph = helper.make_graph(
            [branch], f"g{level}", [], [value(f"b{level}", F32, [1, 3, 32, 32])]
        )
    node = helper.make_node("If", ["true"], ["last"], then_branch=graph, else_branch=_relu(depth))
    return classifier(node, weights=[constant("true", 1, np.bool_)])


def _relu(level: int) -> onnx.GraphProto:
    name = f"e{level}"
    node = helper.make_node("Relu", ["c"], [name])
    return helper.make_graph([node], f"else{level}", [], [value(name, F32, [1, 3, 32, 32])])


def nested_bytes(depth: int) -> bytes:
    """If in If in If..., as bytes: protobuf's own tools refuse to write it so deep."""
    content = b""
    for _ in range(depth):
        # ModelProto.graph.node.attribute.g, each a length-delimited field
        for field in (6, 5, 1):
            content = _field(field, content)
    return b"\x08\x08" + _field(7, content)


def _field(number: int, content: bytes) -> bytes:
    length, encoded = len(content), bytearray()
    while True:
        encoded.append(length & 0x7F | (0x80 if length > 0x7F else 0))
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + bytes(encoded) + content


def _named(name: str) -> onnx.ModelProto:
    made = classifier()
    made.graph.input[0].name = made.graph.node[0].input[0] = name
    return made


def _recursive() -> onnx.ModelProto:
    made = classifier(helper.make_node("Again", ["c"], ["last"], domain="own"), domains=["own"])
    body = [helper.make_node("Again", ["a"], ["b"], domain="own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made.functions.append(helper.make_function("own", "Again", ["a"], ["b"], body, opsets))
    return made


def _einsum() -> onnx.ModelProto:
    letters = "abcdefghijklmnopqrstuvwxyz"
    equation = f"{','.join(letters)}->{letters}"
    return model_of(
        [
            helper.make_node("Einsum", ["ten"] * 26, ["all"], equation=equation),
            helper.make_node("ReduceSum", ["all"], ["sum"], keepdims=0),
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "sum"], ["y"]),
        ],
        [constant("ten", np.ones(10), np.float32)],
    )


def many_nodes(count: int) -> onnx.ModelProto:
    """A chain of so many nodes."""
    names = ["c", *(f"n{i}" for i in range(count - 1)), "last"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    return classifier(*nodes)


def saved(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model without any check."""
    path.write_bytes(model.SerializeToString())
    return path
