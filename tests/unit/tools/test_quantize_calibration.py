"""Ranges of activations: the growing histogram, every method, and what is observed."""

import logging
import tracemalloc

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgehaul.errors import ModelError
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.calibrate import Histograms, Method, activation_tensors, tensors_around
from edgehaul_tools.quantize.histogram import Histogram
from edgehaul_tools.quantize.ranging import LEVELS, range_of

METHODS: tuple[Method, ...] = ("minmax", "moving-average", "percentile", "entropy", "mse")


def histogram_of(*inputs: np.ndarray) -> Histogram:
    histogram = Histogram(0.01)
    for values in inputs:
        histogram.widen(float(values.min()), float(values.max()))
        histogram.count(values)
    return histogram


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / (LEVELS - 1)
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(values / step) + zero, 0, LEVELS - 1) - zero) * step
    return float(((rounded - values) ** 2).mean())


scales = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=6)


@settings(deadline=None)
@given(scales, st.integers(0, 2**32 - 1), st.sampled_from([-1.0, 0.0, None]))
def test_one_pass_counts_as_if_the_final_width_had_been_known(
    magnitudes: list[float], seed: int, shift: float | None
) -> None:
    random = np.random.default_rng(seed)
    inputs = [
        (
            random.random(50) * scale if shift is None else random.normal(shift, 1, 50) * scale
        ).astype(np.float32)
        for scale in magnitudes
    ]
    grown = histogram_of(*inputs)
    every = np.concatenate(inputs)
    counts, edges = grown.counts()
    expected, _ = np.histogram(every.astype(np.float64), edges)
    assert counts.sum() == every.size
    np.testing.assert_array_equal(counts, expected)
    assert 0.0 in edges
    assert grown.low == every.min()
    assert grown.high == every.max()
    # Fine enough for 256 levels however small the first inputs were.
    assert max(-grown.low, grown.high) / grown.width >= 2048


def test_moving_average_is_of_each_inputs_extremes_and_without_bias() -> None:
    inputs = [np.array([-1.0, 1.0]), np.array([-3.0, 2.0]), np.array([-2.0, 9.0])]
    low, high = range_of(histogram_of(*inputs), "moving-average")
    weights = np.array([0.99**2, 0.99, 1.0])
    assert low == pytest.approx(np.dot(weights, [-1, -3, -2]) / weights.sum())
    assert high == pytest.approx(np.dot(weights, [1, 2, 9]) / weights.sum())


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_percentile_leaves_out_the_outermost_values(side: float) -> None:
    values = np.linspace(0, 1, 1_000_000)
    values[-4:] = 50.0  # 4 of a million: fewer than the 5 that one side may lose
    ends = sorted(abs(end) for end in range_of(histogram_of(values * side), "percentile"))
    assert ends[0] == 0
    assert ends[1] == pytest.approx(1.0, abs=0.03)
    values[-6:] = 50.0
    assert max(abs(e) for e in range_of(histogram_of(values * side), "percentile")) == 50.0


@pytest.mark.parametrize("relu", [False, True])
def test_mse_is_near_the_best_range_there_is(*, relu: bool) -> None:
    values = np.random.default_rng(0).standard_t(4, 50_000).astype(np.float32)
    values = np.maximum(values, 0) if relu else values
    low, high = range_of(histogram_of(values), "mse")
    best = min(
        squared_error(values, part * values.min(), other * values.max())
        for part in np.linspace(0.04, 1, 25)
        for other in np.linspace(0.04, 1, 25)
    )
    assert squared_error(values, low, high) < 1.05 * best
    assert squared_error(values, low, high) < squared_error(values, values.min(), values.max())


def test_entropy_cuts_a_thin_tail_and_keeps_a_flat_distribution() -> None:
    random = np.random.default_rng(0)
    flat = random.random(200_000)
    assert range_of(histogram_of(flat), "entropy")[1] > 0.95
    laplace = random.laplace(0, 1, 200_000)
    outliers = np.concatenate([laplace, np.full(5, 60.0), np.full(5, -60.0)])
    low, high = range_of(histogram_of(outliers), "entropy")
    assert 5 < high < 25
    assert -25 < low < -5
    # 5 of 200,000 values are no more than a percentile of 99.999 has to keep.
    assert range_of(histogram_of(outliers), "percentile") == (-60, 60)
    spiky = np.concatenate([np.zeros(1_000_000), np.maximum(laplace, 0)])
    with_zeros = range_of(histogram_of(spiky), "entropy")
    without = range_of(histogram_of(laplace[laplace > 0]), "entropy")
    assert with_zeros[1] == pytest.approx(without[1], rel=0.1)  # zeros decide nothing


def test_each_side_of_zero_has_an_end_of_its_own() -> None:
    random = np.random.default_rng(0)
    values = np.concatenate([random.laplace(0, 1, 100_000).clip(0), -random.random(100_000) * 0.5])
    for method in ("entropy", "mse"):
        low, high = range_of(histogram_of(values), method)
        assert low == pytest.approx(-0.5, abs=0.1)
        assert high > 3


@given(
    st.sampled_from(METHODS),
    st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=9), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_every_range_is_finite_holds_zero_and_stays_within_the_values(
    method: Method, inputs: list[list[float]]
) -> None:
    arrays = [np.array(values, np.float32) for values in inputs]
    low, high = range_of(histogram_of(*arrays), method)
    every = np.concatenate([*arrays, [0.0]])
    assert every.min() - 1e-9 <= low <= 0 <= high <= every.max() + 1e-9


def pooling_model() -> onnx.ModelProto:
    """Return Conv -> Relu -> MaxPool -> Reshape -> Gemm, the first two outputs read once."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["m"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["m", "shape"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="dense"),
    ]
    graph = helper.make_graph(
        nodes,
        "pooling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [
            numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.ones((4, 1), np.float32), "v"),
            numpy_helper.from_array(np.array([1, 4], np.int64), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def test_ranges_that_follow_from_others_are_theirs() -> None:
    x = np.arange(-8, 8, dtype=np.float32).reshape(1, 1, 4, 4)
    model = pooling_model()
    ranges = Histograms(model, activation_tensors(model), lambda: iter([x])).ranges("minmax")
    assert ranges["x"] == (-8, 7)
    assert ranges["c"] == ranges["r"] == ranges["m"] == ranges["f"] == (0, 7)
    assert ranges["y"] == (0, 12)  # max of four windows: 0, 0, 5 and 7
    # Asked for alone, a tensor is observed itself.
    assert Histograms(model, ["c"], lambda: iter([x])).ranges("minmax") == {"c": (-8, 7)}


def test_a_tensor_that_others_read_keeps_its_own_range() -> None:
    model = pooling_model()
    model.graph.node.append(helper.make_node("Abs", ["c"], ["a"], name="abs"))
    model.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 1, 4, 4]))
    x = np.arange(-8, 8, dtype=np.float32).reshape(1, 1, 4, 4)
    ranges = Histograms(model, activation_tensors(model), lambda: iter([x])).ranges("minmax")
    assert ranges["c"] == (-8, 7)
    assert ranges["r"] == (0, 7)


def test_only_tensors_around_int8_nodes_need_ranges() -> None:
    model = pooling_model()
    assert set(tensors_around(model, {"flat", "dense"})) == {"x", "c", "r", "m"}


def test_observing_answers_as_the_model_does_and_tells_how_far_it_is() -> None:
    model = pooling_model()
    random = np.random.default_rng(0)
    inputs = list(random.normal(0, 1, (3, 1, 1, 4, 4)).astype(np.float32))
    told: list[tuple[int, int]] = []
    streamed = Histograms(
        model,
        ["x", "r", "y"],
        lambda: iter(inputs),
        progress=lambda done, total: told.append((done, total)),
        total=3,
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    pushed = Histograms(model, ["x", "r", "y"])
    for tensor in inputs:
        (answer,) = pushed.run(tensor)
        np.testing.assert_array_equal(answer, runner(model)(tensor)[0])
    for method in METHODS:
        assert pushed.ranges(method) == streamed.ranges(method)
    with pytest.raises(ModelError, match="refuses an input"):
        pushed.run(np.zeros((1, 1, 4, 4), np.float64))


def test_values_that_are_no_numbers_are_left_out_and_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    x = np.array([[[[np.nan, np.inf, 1, 2]] * 4]], np.float32)
    with caplog.at_level(logging.WARNING):
        ranges = Histograms(pooling_model(), ["x"], lambda: iter([x, x])).ranges("mse")
    assert ranges["x"] == pytest.approx((0.0, 2.0), rel=0.01)
    assert [r.getMessage() for r in caplog.records] == [
        "tensor x holds NaN or infinite values; they are left out"
    ]


def test_memory_does_not_grow_with_the_inputs() -> None:
    model = pooling_model()

    def peak_bytes(count: int) -> int:
        random = np.random.default_rng(0)
        stream = (random.random((1, 1, 4, 4), dtype=np.float32) for _ in range(count))
        tracemalloc.start()
        try:
            Histograms(model, activation_tensors(model), lambda: stream)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(5)
    assert peak_bytes(500) < peak_bytes(5) + 20_000  # 495 inputs more are 31,680 bytes
