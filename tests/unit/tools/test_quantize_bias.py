"""Bias correction and layer-wise noise: by hand, and on real int8 models."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.bias import corrected
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors, exposing
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import Unit, divide
from edgehaul_tools.quantize.sqnr import layer_sqnr
from edgehaul_tools.quantize.static import quantize_static

Batch = Literal["free", "one", "reshaped", "first"]
"""One: as most models are exported. Reshaped: also by a Reshape between the layers. First: all
but a batch's first input is thrown away between the layers, so that no batch will do."""
BATCHES = pytest.mark.parametrize("batch", get_args(Batch))


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    shape: Sequence[int | str],
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(
                value if value.dtype == np.int64 else value.astype(np.float32), name
            )
            for name, value in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def batch_of(batch: Batch) -> int | str:
    return "batch" if batch == "free" else 1


def put_between(
    batch: Batch,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    at: int,
    shape: Sequence[int],
) -> None:
    """Put in front of a node what makes the batch size a matter of the graph."""
    if batch not in {"reshaped", "first"}:
        return
    source, nodes[at].input[0] = nodes[at].input[0], "between"
    if batch == "reshaped":
        node = helper.make_node("Reshape", [source, "shape"], ["between"], name="reshape")
        constants["shape"] = np.array(shape, np.int64)
    else:
        node = helper.make_node("Slice", [source, "0", "1", "0"], ["between"], name="first")
        constants |= {"0": np.array([0], np.int64), "1": np.array([1], np.int64)}
    nodes.insert(at, node)


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def with_whole_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its weights (names that begin with w) rounded to whole numbers."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    for tensor in rounded.graph.initializer:
        if tensor.name.startswith("w"):
            values = np.rint(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return rounded


def two_layers(batch: Batch, opset: int) -> onnx.ModelProto:
    """Return y = 0.6 * (1.4 * x + 2), as two 1x1 convolutions; the second has no bias."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["t"], name="one"),
        helper.make_node("Conv", ["t", "w2"], ["y"], name="two"),
    ]
    constants = {
        "w1": np.full((1, 1, 1, 1), 1.4),
        "b1": np.array([2.0]),
        "w2": np.full((1, 1, 1, 1), 0.6),
    }
    put_between(batch, nodes, constants, 1, (1, 1, 1, 2))
    return model_of(nodes, constants, (batch_of(batch), 1, 1, 2), opset)


@BATCHES
@pytest.mark.parametrize("opset", [13, 20])
def test_two_layers_by_hand(batch: Batch, opset: int) -> None:
    model = two_layers(batch, opset)
    units = [Unit("one", ("one",), "t"), Unit("two", ("two",), "y")]
    inputs = [np.array([[[[1.0, 3.0]]]], np.float32), np.array([[[[5.0, 11.0]]]], np.float32)]
    fixed = corrected(model, with_whole_weights, inputs, units)
    got = weights_of(fixed)
    # Mean of x is 5. One: 1 * 5 + 2 instead of 1.4 * 5 + 2 is 2 too low, so that the bias
    # becomes 4. Two then sees the mean of 9 that it should, and 1 * 9 instead of 0.6 * 9 is
    # 3.6 too high. (At once it would be 1 * 7 - 5.4 = 1.6.)
    assert got["b1"] == pytest.approx([4.0])
    assert got["two.edgehaul.bias"] == pytest.approx([-3.6])
    assert got["w1"] == pytest.approx(1.4)  # the float model keeps its weights
    answers = [runner(with_whole_weights(fixed))(tensor)[0] for tensor in inputs]
    expected = [runner(model)(tensor)[0] for tensor in inputs]
    assert np.mean(answers) == pytest.approx(np.mean(expected), rel=1e-5)
    onnx.checker.check_model(fixed)
    np.testing.assert_array_equal(weights_of(model)["b1"], [2.0])  # what was given stays


@BATCHES
def test_dense_layers_and_shared_or_scaled_biases(batch: Batch) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b"], ["t"], name="one", beta=0.5),
        helper.make_node("Gemm", ["t", "w2", "b"], ["y"], name="two", transB=1),
    ]
    constants = {"w1": np.full((2, 2), 1.25), "w2": np.full((2, 2), 1.0), "b": np.array([2.0, 4.0])}
    put_between(batch, nodes, constants, 1, (1, 2))
    model = model_of(nodes, constants, (batch_of(batch), 2))
    units = [Unit("one", ("one",), "t"), Unit("two", ("two",), "y")]
    inputs = [np.array([[1.0, 3.0]], np.float32)]
    got = weights_of(corrected(model, with_whole_weights, inputs, units))
    # One is 0.25 * 4 = 1 too low, which half of the bias has to make up for; two is exact.
    assert got["one.edgehaul.bias"] == pytest.approx([4.0, 6.0])
    assert got["two.edgehaul.bias"] == pytest.approx([2.0, 4.0])
    assert got["b"] == pytest.approx([2.0, 4.0])


def convolutional(batch: Batch) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    scale = 2.0 ** random.uniform(-3, 3, 8)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], name="n1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="a1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="n2", group=8, pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"], name="a2"),
        helper.make_node("ConvTranspose", ["r2", "w3"], ["c3"], name="n3"),
        helper.make_node("Relu", ["c3"], ["r3"], name="a3"),
        helper.make_node("GlobalAveragePool", ["r3"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], name="n4"),
    ]
    constants = {
        "w1": random.normal(0.2, 1, (8, 3, 3, 3)) * scale.reshape(8, 1, 1, 1),
        "b1": random.normal(0, 1, 8) * scale,
        "w2": random.normal(0.2, 1, (8, 1, 3, 3)),
        "w3": random.normal(0, 1, (8, 4, 2, 2)) / scale.reshape(8, 1, 1, 1),
        "w4": random.normal(0, 1, (4, 3)),
        "b4": random.normal(0, 1, 3),
    }
    put_between(batch, nodes, constants, 4, (1, 8, 8, 8))
    return model_of(nodes, constants, (batch_of(batch), 3, 8, 8))


def pictures(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return list(random.normal(0.5, 1, (count, 1, 3, 8, 8)).astype(np.float32))


def layer_errors(
    model: onnx.ModelProto, int8: onnx.ModelProto, inputs: Sequence[np.ndarray]
) -> list[float]:
    """Return the largest difference of a channel's mean in each layer, over its own spread."""
    where = {node.name: node.output[0] for node in int8.graph.node}
    names = ["n1", "n2", "n3", "n4"]
    nodes = {node.name: node for node in model.graph.node}
    run = runner(exposing(model, [nodes[name].output[0] for name in names]))
    run_int8 = runner(exposing(int8, [where[name] for name in names]))
    errors = []
    for expected, got in zip(
        zip(*(run(t) for t in inputs), strict=True),
        zip(*(run_int8(t) for t in inputs), strict=True),
        strict=True,
    ):
        a, b = np.concatenate(expected), np.concatenate(got)
        axes = (0, *range(2, a.ndim))
        errors.append(float((np.abs(a.mean(axes) - b.mean(axes)) / a.std(axes)).max()))
    return errors


@BATCHES
def test_int8_means_of_all_layers_become_the_float_ones(batch: Batch) -> None:
    model = convolutional(batch)
    inputs = pictures(24)
    ranges = Histograms(model, activation_tensors(model), lambda: iter(inputs)).ranges("minmax")

    def build(source: onnx.ModelProto) -> onnx.ModelProto:
        return quantize_static(source, ranges, float_nodes=(), form=Form(weight_bits=7))

    units = divide(model.graph).units
    fixed = corrected(model, build, inputs, units)
    before = layer_errors(model, build(model), inputs)
    after = layer_errors(model, build(fixed), inputs)
    assert max(before[:3]) > 0.03
    assert max(after[:3]) < 0.01
    assert after[3] < max(before[3], 0.05)


def test_layers_in_one_run_and_one_by_one_are_corrected_alike() -> None:
    inputs = pictures(12)
    free, single = convolutional("free"), convolutional("first")
    units = divide(free.graph).units
    got = weights_of(corrected(free, with_whole_weights, inputs, units))
    expected = weights_of(corrected(single, with_whole_weights, inputs, units))
    assert {*got, "0", "1"} == set(expected)
    assert any(name.endswith(".edgehaul.bias") for name in got)
    for name, value in got.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-3)


def test_nothing_to_correct_changes_nothing() -> None:
    model = two_layers("one", 17)
    units = [Unit("one", ("one",), "t")]
    assert corrected(model, with_whole_weights, [], units) == model
    tensor = np.ones((1, 1, 1, 2), np.float32)
    assert corrected(model, with_whole_weights, [tensor], []) == model
    exact = corrected(model, lambda source: source, [tensor], units)
    assert weights_of(exact)["b1"] == pytest.approx([2.0])


def test_signal_to_noise_by_hand() -> None:
    model = two_layers("one", 17)
    units = [Unit("one", ("one",), "t"), Unit("two", ("two",), "y"), Unit("no", ("no",), "none")]
    tensors = [np.array([[[[1.0, 3.0]]]], np.float32)]
    worse = onnx.ModelProto()
    worse.CopyFrom(model)
    next(t for t in worse.graph.initializer if t.name == "b1").CopyFrom(
        numpy_helper.from_array(np.array([2.34], np.float32), "b1")
    )
    found = layer_sqnr(model, worse, tensors, units[:2])
    # Signal 3.4 and 6.2, noise 0.34 in each; the second layer scales both alike.
    decibels = 10 * math.log10((3.4**2 + 6.2**2) / (2 * 0.34**2))
    assert found == {"one": pytest.approx(decibels, 1e-4), "two": pytest.approx(decibels, 1e-4)}
    assert layer_sqnr(model, model, tensors, units[:1]) == {"one": math.inf}
    assert layer_sqnr(model, model, tensors, units[2:]) == {}


def test_noise_of_an_int8_model_is_that_of_what_the_next_layer_reads() -> None:
    model = convolutional("one")
    inputs = pictures(4)
    ranges = Histograms(model, activation_tensors(model), lambda: iter(inputs)).ranges("minmax")
    int8 = quantize_static(model, ranges, float_nodes=(), form=Form(weight_bits=7))
    units = divide(model.graph).units
    found = layer_sqnr(model, int8, inputs, units)
    assert list(found) == [unit.name for unit in units]
    # Behind a Relu nothing is negative; a tensor before rounding would be, with far more noise.
    assert all(15 < value < 45 for value in found.values())
    coarse = {name: (low, 4 * high) for name, (low, high) in ranges.items()}
    worse = layer_sqnr(
        model,
        quantize_static(model, coarse, float_nodes=(), form=Form(weight_bits=7)),
        inputs,
        units,
    )
    assert all(worse[name] < found[name] for name in ("n1", "n2"))
