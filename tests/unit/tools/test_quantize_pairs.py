"""Weights as wide as pairs of products bear: scales, kernels, and what keeps to seven bits."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import Unit
from edgehaul_tools.quantize.pair_sums import overflowing, plain_scales, safe_scales
from edgehaul_tools.quantize.saturation import WeightBits, products_saturate
from edgehaul_tools.quantize.sensitivity import unit_noise
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.quantize.weight_scales import bearable_scales, scale_overrides

NARROW = Form(weight_bits=7)
LAYERS: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "1x1": ("Conv", (16, 20, 1, 1), {}),
    "3x3": ("Conv", (16, 8, 3, 3), {"pads": [1] * 4}),
    "3 channels": ("Conv", (8, 3, 3, 3), {}),
    "5x5": ("Conv", (8, 3, 5, 5), {"strides": [2, 2]}),
    "2 groups": ("Conv", (8, 3, 3, 3), {"group": 2}),
    "multiplied": ("Conv", (16, 1, 3, 3), {"group": 8}),
    "depthwise": ("Conv", (8, 1, 3, 3), {"group": 8}),
    "1-D": ("Conv", (8, 5, 3), {}),
    "Gemm": ("Gemm", (33, 8), {}),
    "transposed Gemm": ("Gemm", (8, 33), {"transB": 1}),
    "MatMul": ("MatMul", (130, 8), {}),
}
WEIGHTS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
MATRICES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=WEIGHTS
)


def steps_of(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    steps: NDArray[np.int8] = np.rint(rows / scales[:, None]).clip(-127, 127).astype(np.int8)
    return steps


@given(MATRICES)
def test_no_pair_overflows_and_no_finer_scale_would_do(rows: NDArray[np.float32]) -> None:
    scales, plain = safe_scales(rows), plain_scales(rows)
    assert scales.dtype == np.float32
    assert not overflowing(steps_of(rows, scales)).any()
    assert (scales >= plain).all()
    seven_bits = np.where(rows.any(axis=1), plain * (127 / 64) * (1 + 1e-6), plain)
    assert (scales <= seven_bits).all()
    limited = scales > plain * (1 + 1e-6)
    finer = steps_of(rows, scales * np.float32(1 - 1e-6))
    assert overflowing(finer)[limited].all()


@given(MATRICES)
def test_overflow_is_what_sixteen_bits_cut(rows: NDArray[np.float32]) -> None:
    """Against the sums themselves, of the activations that make them largest."""
    steps = steps_of(rows, plain_scales(rows)).astype(np.int64)
    steps = np.pad(steps, ((0, 0), (0, steps.shape[1] % 2)))
    first, second = steps[:, ::2], steps[:, 1::2]
    sums = [a * first + b * second for a, b in itertools.product((0, 255), repeat=2)]
    cut = np.any([(s > 32767) | (s < -32768) for s in sums], axis=(0, 2))
    np.testing.assert_array_equal(overflowing(steps.astype(np.int8)), cut)


@pytest.mark.parametrize(
    ("row", "largest"),
    [
        ([1.0, 1.0], 64),
        ([-1.0, -1.0], 64),
        ([1.0, -1.0], 127),
        ([1.0, 0.0, 1.0], 127),
        ([0.0, 1.0, 1.0], 127),
        ([1.0, 1.0 / 3], 96),
    ],
)
def test_only_neighbours_of_one_sign_limit_a_channel(row: list[float], largest: int) -> None:
    rows = np.array([row], np.float32)
    assert np.abs(steps_of(rows, safe_scales(rows))).max() == largest


def test_a_channel_of_zeros_has_the_scale_of_the_quantizer() -> None:
    rows = np.zeros((2, 5), np.float32)
    rows[1, 0] = 2
    np.testing.assert_allclose(safe_scales(rows), [1, 2 / 127])


def weights_of(name: str) -> NDArray[np.float32]:
    """Return weights, half of whose channels have large ones of one sign."""
    operator, shape, attributes = LAYERS[name]
    random = np.random.default_rng(7)
    axis = 0 if operator == "Conv" or attributes.get("transB") else 1
    channels = np.moveaxis(random.normal(0, 0.3, shape), axis, 0)
    channels[::2] = random.uniform(0.7, 1, channels[::2].shape)
    channels[::4] *= -1
    return np.moveaxis(channels, 0, axis).astype(np.float32)


def layer(name: str) -> onnx.ModelProto:
    operator, shape, attributes = LAYERS[name]
    inner = shape[1] if attributes.get("transB") else shape[0]
    channels = attributes.get("group", 1) * shape[1]
    given = [1, channels, *[9] * (len(shape) - 2)] if operator == "Conv" else [3, inner]
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"], ["y"], name="layer", **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights_of(name), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def worst_inputs(model: onnx.ModelProto) -> list[NDArray[np.float32]]:
    """Return inputs that are 0 or 255 as bytes: all of them, and at random."""
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    random = np.random.default_rng(1)
    return [np.ones(dims, np.float32), random.integers(0, 2, dims).astype(np.float32)]


def quantized(model: onnx.ModelProto, form: Form) -> tuple[onnx.ModelProto, float]:
    """Return the int8 form and the step of its output."""
    answers = np.concatenate([runner(model)(x)[0].ravel() for x in worst_inputs(model)])
    low, high = float(min(answers.min(), 0)), float(max(answers.max(), 0))
    ranges = {"x": (0.0, 1.0), "y": (low, high)}
    return quantize_static(model, ranges, float_nodes=(), form=form), (high - low) / 255


def node_by_node(model: onnx.ModelProto, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a model with QDQ pairs answers in floats, which do not overflow."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    answer: NDArray[np.float32] = session.run(None, {"x": tensor})[0]
    return answer


def error_in_steps(name: str, form: Form) -> float:
    """Return how far integer kernels are from exact arithmetic, in steps of the output."""
    model = layer(name)
    int8, step = quantized(model, form)
    exact, _ = quantized(model, Form(weight_bits=form.weight_bits, per_channel=form.per_channel))
    run = runner(int8)
    differences = [np.abs(run(x)[0] - node_by_node(exact, x)) for x in worst_inputs(model)]
    return float(max(d.max() for d in differences)) / step


@pytest.mark.parametrize(
    "form", [NARROW, Form("qoperator", weight_bits=7), Form(weight_bits=7, per_channel=False)]
)
@pytest.mark.parametrize("name", LAYERS)
def test_kernels_answer_exactly_with_the_largest_products(name: str, form: Form) -> None:
    assert error_in_steps(name, form) <= 1.01
    if form.per_channel:
        int8, _ = quantized(layer(name), form)
        tensors = {t.name: numpy_helper.to_array(t) for t in int8.graph.initializer}
        assert np.abs(tensors["w_quantized"]).max() > 64  # wider than seven bits


@pytest.mark.skipif(not products_saturate(), reason="this processor adds in 32 bits")
@pytest.mark.parametrize("name", LAYERS)
def test_plain_eight_bits_overflow_there_but_depthwise(name: str) -> None:
    if name == "depthwise":
        assert error_in_steps(name, Form()) <= 1.01
    else:
        assert error_in_steps(name, Form()) > 5


def cut_pairs(kernel: tuple[int, int], channels: int, groups: int, outputs: int) -> set[Any]:
    """Return which two weights of a group together overflow in QLinearConv, of all pairs."""
    inner = math.prod(kernel) * channels
    pairs = list(itertools.combinations(range(inner), 2))
    found = set()
    for start in range(0, len(pairs), outputs):
        part = pairs[start : start + outputs]
        rows = np.zeros((outputs, inner), np.int8)
        for row, pair in zip(rows, part, strict=False):
            row[list(pair)] = 127
        filters = np.moveaxis(rows.reshape(outputs, *kernel, channels), -1, 1)
        shape = (1, channels * groups, 8, 8)
        numbers: dict[str, NDArray[Any]] = {
            "one": np.array(1, np.float32),
            "zero": np.array(0, np.uint8),
            "even": np.array(0, np.int8),
            "step": np.array(254, np.float32),
            "w": np.concatenate([filters] * groups),
        }
        names = ["x", "one", "zero", "w", "one", "even", "step", "zero"]
        graph = helper.make_graph(
            [helper.make_node("QLinearConv", names, ["y"], group=groups)],
            "pairs",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
            [numpy_helper.from_array(v, name) for name, v in numbers.items()],
        )
        opset = helper.make_opsetid("", 17)
        run = runner(helper.make_model(graph, opset_imports=[opset], ir_version=8))
        (sums,) = run(np.full(shape, 255, np.uint8))
        least = sums.reshape(groups, outputs, -1).min(axis=(0, 2))
        found |= {pair for pair, one in zip(part, least, strict=False) if one < 250}
    return found


@pytest.mark.skipif(not products_saturate(), reason="this processor adds in 32 bits")
@pytest.mark.parametrize(
    ("kernel", "channels", "groups", "outputs"),
    [((3, 3), 3, 1, 64), ((1, 1), 16, 1, 64), ((3, 2), 4, 2, 48), ((3, 3), 1, 8, 2)],
)
def test_kernels_add_the_pairs_that_the_scales_expect(
    kernel: tuple[int, int], channels: int, groups: int, outputs: int
) -> None:
    """By trying every pair: what holds of ONNX Runtime's kernels is not documented."""
    inner = math.prod(kernel) * channels
    expected = {(i, i + 1) for i in range(0, inner - 1, 2)}
    assert cut_pairs(kernel, channels, groups, outputs) == expected


@pytest.mark.skipif(not products_saturate(), reason="this processor adds in 32 bits")
def test_depthwise_kernels_add_no_pairs() -> None:
    assert cut_pairs((3, 3), 1, 8, 1) == set()


def test_the_sensitivity_is_that_of_the_weights_as_they_will_be() -> None:
    def noise(name: str, bits: WeightBits) -> float:
        model = layer(name)
        tensors = worst_inputs(model)
        expected = [runner(model)(x)[0] for x in tensors]

        def distance(outputs: Sequence[Sequence[NDArray[Any]]]) -> float:
            pairs = zip(outputs, expected, strict=True)
            return float(sum(np.abs(found - want).sum() for (found,), want in pairs))

        found = unit_noise(model, [Unit("layer", ("layer",), "y")], {}, tensors, distance, bits)
        return found["layer"]

    assert noise("depthwise", 7) == noise("depthwise", 8) > 0
    assert noise("3x3", 7) > noise("3x3", 8)


@pytest.mark.parametrize(
    "form", [Form(), Form(activations="s8", weight_bits=7), Form(weights="u8"), Form("dynamic")]
)
def test_other_forms_have_their_usual_scales(form: Form) -> None:
    assert scale_overrides(layer("3x3").graph, form, ()) == {}


def test_layers_in_float_need_no_scale() -> None:
    graph = layer("3x3").graph
    assert set(scale_overrides(graph, NARROW, ())) == {"w"}
    assert scale_overrides(graph, NARROW, {"layer"}) == {}


def test_where_the_pairs_are_unknown_weights_keep_to_seven_bits() -> None:
    for name, operator, inputs in (
        ("3x3", "ConvTranspose", ["x", "w"]),
        ("MatMul", "MatMul", ["w", "x"]),
    ):
        graph = layer(name).graph
        graph.node[0].op_type = operator
        graph.node[0].input[:] = inputs
        assert scale_overrides(graph, NARROW, ()) == {}
    batched = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert bearable_scales(batched, np.ones((2, 4, 4), np.float32)) is None


def test_a_weight_of_two_layers_suits_both() -> None:
    graph = layer("depthwise").graph
    alone = scale_overrides(graph, NARROW, ())["w"]
    twin = graph.node.add()
    twin.CopyFrom(graph.node[0])
    twin.name = "twin"
    next(a for a in twin.attribute if a.name == "group").i = 1
    both = scale_overrides(graph, NARROW, ())["w"]
    expected = bearable_scales(twin, weights_of("depthwise"))
    np.testing.assert_array_equal([entry["scale"] for entry in both], expected)
    assert max(entry["scale"] for entry in alone) < max(entry["scale"] for entry in both)


def test_one_scale_for_a_layer_is_that_of_its_coarsest_channel() -> None:
    model = layer("3x3")
    weight = weights_of("3x3") / 100
    weight[3] = 0  # whose own scale, 1, would leave nothing of the others
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    scales = bearable_scales(model.graph.node[0], weight)
    assert scales is not None
    (one,) = scale_overrides(model.graph, Form(weight_bits=7, per_channel=False), ())["w"]
    assert one["scale"] == np.delete(scales, 3).max()
