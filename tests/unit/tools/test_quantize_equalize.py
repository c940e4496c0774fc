"""Cross-layer equalisation: answers stay, channels become alike, and what is left alone."""

import itertools
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.equalize import equalize

SIDE = 6


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    shape: Sequence[int | str] = (1, 3, SIDE, SIDE),
    outputs: Sequence[str] = ("y",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            if value.dtype != np.int64
            else numpy_helper.from_array(value, name)
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model)
    return model


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def difference(model: onnx.ModelProto, other: onnx.ModelProto, seed: int = 0) -> float:
    """Return the largest difference of the answers, as a part of the largest answer."""
    dims = [d.dim_value or 2 for d in model.graph.input[0].type.tensor_type.shape.dim]
    tensor = np.random.default_rng(seed).normal(0, 1, dims).astype(np.float32)
    return max(
        float(np.abs(a - b).max() / np.abs(a).max())
        for a, b in zip(runner(model)(tensor), runner(other)(tensor), strict=True)
    )


def test_a_pair_by_hand() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="one"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "v"], ["y"], name="two"),
    ]
    constants = {
        "w": np.array([8.0, -0.5]).reshape(2, 1, 1, 1),
        "b": np.array([4.0, 1.0]),
        "v": np.array([[0.5, 2.0], [-0.25, 1.0]]).reshape(2, 2, 1, 1),
    }
    model = model_of(nodes, constants, (1, 1, 2, 2))
    found = equalize(model)
    # s = sqrt(r1 / r2): sqrt(8 / 0.5) = 4 and sqrt(0.5 / 2) = 0.5.
    got = weights_of(found.model)
    np.testing.assert_allclose(got["w"].ravel(), [2.0, -1.0])
    np.testing.assert_allclose(got["b"], [1.0, 2.0])
    np.testing.assert_allclose(got["v"].reshape(2, 2), [[2.0, 1.0], [-1.0, 0.5]])
    (pair,) = found.pairs
    assert (pair.first, pair.second) == ("one", "two")
    assert (pair.ratio_before, pair.ratio_after) == (16.0, 2.0)
    assert (found.largest_ratio_before, found.largest_ratio_after) == (16.0, 2.0)
    np.testing.assert_array_equal(weights_of(model)["b"], [4.0, 1.0])  # the model given stays


KINDS = ("relu", "leaky", "prelu", "identity", "maxpool", "average")
sizes = st.integers(-8, 8)


def activation(kind: str, source: str, output: str, channels: int) -> onnx.NodeProto:
    if kind == "leaky":
        return helper.make_node("LeakyRelu", [source], [output], alpha=0.1)
    if kind == "prelu":
        return helper.make_node("PRelu", [source, f"slope{channels}"], [output])
    if kind in {"maxpool", "average"}:
        op = "MaxPool" if kind == "maxpool" else "AveragePool"
        return helper.make_node(op, [source], [output], kernel_shape=[2, 2])
    return helper.make_node("Relu" if kind == "relu" else "Identity", [source], [output])


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """Draw a chain of convolutions, plain, grouped, depthwise or transposed, then a dense layer."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, tensor = 4, "x"
    constants: dict[str, np.ndarray] = {"slope4": random.uniform(-0.5, 0.5, (4, 1, 1))}
    nodes: list[onnx.NodeProto] = []
    for index in range(draw(st.integers(1, 4))):
        op = draw(st.sampled_from(["Conv", "Conv", "ConvTranspose"]))
        groups = draw(st.sampled_from([1, 2, 4]))
        weight = random.normal(0, 1, (4, channels // groups, 3, 3))
        scale = 2.0 ** np.array(draw(st.lists(sizes, min_size=4, max_size=4)))
        constants[f"w{index}"] = weight * scale.reshape(4, 1, 1, 1)
        inputs = [tensor, f"w{index}"]
        if draw(st.booleans()):
            constants[f"b{index}"] = random.normal(0, 1, 4) * scale
            inputs.append(f"b{index}")
        tensor = f"t{index}"
        nodes.append(
            helper.make_node(
                op, inputs, [f"c{index}"], name=f"n{index}", group=groups, pads=[1] * 4
            )
        )
        nodes.append(activation(draw(st.sampled_from(KINDS)), f"c{index}", tensor, 4))
    model = model_of(
        [*nodes, helper.make_node("Identity", [tensor], ["y"])], constants, (1, 4, 8, 8), ["y"]
    )
    shape = next(v for v in model.graph.output).type.tensor_type.shape
    flat = int(np.prod([d.dim_value for d in shape.dim]))
    transposed = draw(st.booleans())
    dense = random.normal(0, 1, (2, flat) if transposed else (flat, 2))
    constants |= {"dense": dense, "last": np.array([0.5])}
    nodes += [
        helper.make_node("Flatten", [tensor], ["f"]),
        helper.make_node("Gemm", ["f", "dense", "last"], ["y"], name="d", transB=int(transposed)),
    ]
    return model_of(nodes, constants, (1, 4, 8, 8))


@given(chains(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_answers_stay_and_every_pair_ends_alike(model: onnx.ModelProto, seed: int) -> None:
    found = equalize(model)
    assert difference(model, found.model, seed) < 1e-4
    layers = [node.name for node in model.graph.node if node.name]
    assert [(p.first, p.second) for p in found.pairs] == list(itertools.pairwise(layers))
    again = equalize(found.model)  # nothing left to do
    for name, value in weights_of(again.model).items():
        np.testing.assert_allclose(value, weights_of(found.model)[name], rtol=0.05)


def test_a_depthwise_triple_ends_with_three_equal_ranges() -> None:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], name="expand"),
        helper.make_node("Relu", ["1"], ["2"]),
        helper.make_node("Conv", ["2", "b"], ["3"], name="depthwise", group=4),
        helper.make_node("Relu", ["3"], ["4"]),
        helper.make_node("Conv", ["4", "c"], ["y"], name="project"),
    ]
    constants = {
        "a": random.normal(0, 1, (4, 3, 1, 1)) * np.array([1, 50, 0.02, 3]).reshape(4, 1, 1, 1),
        "b": random.normal(0, 1, (4, 1, 3, 3)) * np.array([9, 0.3, 1, 2]).reshape(4, 1, 1, 1),
        "c": random.normal(0, 1, (2, 4, 1, 1)),
    }
    model = model_of(nodes, constants)
    found = equalize(model)
    assert difference(model, found.model) < 1e-4
    assert [pair.second for pair in found.pairs] == ["depthwise", "project"]
    got = weights_of(found.model)
    a = np.abs(got["a"]).max(axis=(1, 2, 3))
    b = np.abs(got["b"]).max(axis=(1, 2, 3))
    c = np.abs(got["c"]).max(axis=(0, 2, 3))
    ranges = [
        np.abs(constants[n]).max(axis=x)
        for n, x in (("a", (1, 2, 3)), ("b", (1, 2, 3)), ("c", (0, 2, 3)))
    ]
    geometric = np.cbrt(ranges[0] * ranges[1] * ranges[2])  # the paper's equation for triples
    for side in (a, b, c):
        np.testing.assert_allclose(side, geometric, rtol=0.03)


def pair_with(between: Sequence[onnx.NodeProto], **given_: np.ndarray) -> onnx.ModelProto:
    """Return convolution, the nodes from tensor c to tensor r, convolution."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="one"),
        *between,
        helper.make_node("Conv", ["r", "v"], ["y"], name="two"),
    ]
    constants = {
        "w": np.array([8.0, 1.0, 0.1]).reshape(3, 1, 1, 1) * np.ones((3, 3, 1, 1)),
        "v": np.ones((1, 3, 1, 1)),
        **given_,
    }
    return model_of(nodes, constants)


@pytest.mark.parametrize(
    "between",
    [
        [helper.make_node("Clip", ["c", "low", "high"], ["r"])],
        [helper.make_node("Sigmoid", ["c"], ["r"])],
        [helper.make_node("Relu", ["c"], ["1"]), helper.make_node("Add", ["1", "1"], ["r"])],
        [helper.make_node("Relu", ["c"], ["1"]), helper.make_node("Add", ["1", "x"], ["r"])],
        [helper.make_node("Relu", ["c"], ["1"]), helper.make_node("Add", ["1", "high"], ["r"])],
        [helper.make_node("Transpose", ["c"], ["r"], perm=[0, 2, 1, 3])],
    ],
    ids=["clip", "sigmoid", "twice", "residual", "constant", "transposed"],
)
def test_what_is_not_homogeneous_is_left_alone(between: list[onnx.NodeProto]) -> None:
    if between[-1].op_type == "Transpose":
        between = [*between, helper.make_node("Transpose", ["r"], ["r2"], perm=[0, 2, 1, 3])]
        between[0].output[0], between[1].input[0], between[1].output[0] = "q", "q", "r"
    limits = {"low": np.array(0.0), "high": np.array(6.0)}
    model = pair_with(between, **limits)
    found = equalize(model)
    assert not found.pairs
    assert found.largest_ratio_before == found.largest_ratio_after == 1.0
    assert found.model == model


def test_a_tensor_that_leaves_the_model_and_shared_weights_are_left_alone() -> None:
    model = pair_with([helper.make_node("Relu", ["c"], ["r"])])
    assert len(equalize(model).pairs) == 1
    leaving = onnx.ModelProto()
    leaving.CopyFrom(model)
    leaving.graph.output.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))
    assert not equalize(leaving).pairs
    shared = pair_with(
        [helper.make_node("Relu", ["c"], ["1"]), helper.make_node("Conv", ["1", "w"], ["r"])]
    )
    assert not equalize(shared).pairs


@pytest.mark.parametrize("level", [0.0, 1e-20])
def test_dead_channels_are_left_alone(level: float) -> None:
    model = pair_with([helper.make_node("Relu", ["c"], ["r"])])
    weights = {t.name: t for t in model.graph.initializer}
    dead = numpy_helper.to_array(weights["w"]).copy()
    dead[1] = level
    weights["w"].CopyFrom(numpy_helper.from_array(dead, "w"))
    found = equalize(model)
    assert all(np.isfinite(value).all() for value in weights_of(found.model).values())
    np.testing.assert_array_equal(weights_of(found.model)["w"][1], dead[1])
    assert found.pairs[0].ratio_before == pytest.approx(80.0)
    assert difference(model, found.model) < 1e-4


def test_means_over_pictures_are_passed_and_free_batches_too() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="one"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("ReduceMean", ["r"], ["m"], axes=[-1, -2], keepdims=0),
        helper.make_node("Gemm", ["m", "dense"], ["y"], name="two"),
    ]
    random = np.random.default_rng(0)
    constants = {
        "w": random.normal(0, 1, (4, 3, 3, 3)) * np.array([1, 9, 0.1, 3]).reshape(4, 1, 1, 1),
        "b": random.normal(0, 1, 4),
        "dense": random.normal(0, 1, (4, 2)),
    }
    model = model_of(nodes, constants, ("batch", 3, SIDE, SIDE))
    found = equalize(model)
    assert len(found.pairs) == 1
    assert found.largest_ratio_after < found.largest_ratio_before
    assert difference(model, found.model) < 1e-4
    # A mean over the channels mixes them.
    model.graph.node[2].attribute[0].ints[:] = [1, 2]
    mixed = onnx.ModelProto()
    mixed.CopyFrom(model)
    assert not equalize(mixed).pairs
