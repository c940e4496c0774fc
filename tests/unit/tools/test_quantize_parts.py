"""The parts of quantization: ranges, pictures, distance, recurrent models."""

from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.motion.fixes import write_csv
from edgehaul.values import Fix
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.quantize.answers import Answers, Distance, Prepared, prepare
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import clean, divide, is_recurrent, load_model
from edgehaul_tools.quantize.inputs import open_inputs
from edgehaul_tools.quantize.pictures import Pictures
from edgehaul_tools.quantize.saturation import WeightBits, products_saturate, weight_bits_here
from edgehaul_tools.quantize.sensitivity import unit_noise
from edgehaul_tools.quantize.static import quantize_static
from tests.fakes.detectors import SPEC, write_detector, write_pictures


def relu_model() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1000])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_ranges_of_each_method() -> None:
    values = np.random.default_rng(0).normal(0, 1, (40, 1, 1000)).astype(np.float32)
    values[0, 0, 0] = 100.0  # one outlier
    histograms = Histograms(relu_model(), ["x", "y"], lambda: iter(values))
    whole = histograms.ranges("minmax")
    assert whole["x"][1] == 100.0
    assert whole["y"] == (0.0, 100.0)
    for method in ("percentile", "mse"):
        low, high = histograms.ranges(method)["x"]
        assert -6 < low < -2
        assert 2 < high <= 100.0
    assert histograms.ranges("mse")["x"][1] < 100.0


def test_constant_and_broken_tensors_get_a_range_with_zero() -> None:
    values = np.full((2, 1, 1000), 3.0, np.float32)
    assert Histograms(relu_model(), ["x"], lambda: iter(values)).ranges("mse")["x"] == (0.0, 3.0)


def test_switched_off_noise_is_none_and_every_unit_is_measured(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "m.onnx")
    model = clean(load_model(path), where=path)
    pictures = Pictures(write_pictures(tmp_path / "p", 4))
    inputs = list(prepare(pictures, SPEC))
    ranges = Histograms(
        model, activation_tensors(model), lambda: (i.tensor for i in inputs)
    ).ranges("minmax")
    run = runner(model)
    distance = Distance(SPEC, inputs, [run(i.tensor) for i in inputs])
    assert distance([run(i.tensor) for i in inputs]) == 0
    units = divide(model.graph).units
    noise = unit_noise(model, units, ranges, [i.tensor for i in inputs], distance)
    assert set(noise) == {unit.name for unit in units}
    assert all(0 <= value < 1 for value in noise.values())
    assert any(value > 0 for value in noise.values())


def test_agreement_of_classes() -> None:
    spec = ModelSpec(
        "classify", ImageInput(4, 4, layout="nchw"), OutputSpec("classify", ("a", "b"))
    )
    inputs = [Prepared(np.array([[v, 1 - v]], np.float32)) for v in (0.1, 0.4, 0.9, 0.8)]
    same = Answers(lambda t: [t], inputs, spec)
    other = Answers(lambda _t: [np.array([[0.2, 0.8]], np.float32)], inputs, spec)
    assert same.agreement_of(same).f1 == 1.0
    assert same.agreement_of(other).f1 == 0.5


def test_pictures_of_a_video_are_spread_and_the_same_twice(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for level in range(0, 200, 20):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    pictures = Pictures(path, 4)
    first, second = list(pictures), list(pictures)
    assert len(first) == len(pictures) == 4
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    levels = [int(picture.mean()) for picture in first]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 100


def test_windows_are_taken_from_all_trips(tmp_path: Path) -> None:
    for trip in range(3):
        fixes = [
            Fix(
                captured_at_s=1_000.0 + second,
                latitude_deg=50.0 + second * 1e-4,
                longitude_deg=4.0,
                speed_mps=float(trip),
            )
            for second in range(24)
        ]
        write_csv(tmp_path / f"{trip}.csv", fixes)
    canvas = SequenceInput(("speed_mps",), 4, 1.0, (0.0,), (1.0,))
    spec = ModelSpec("sequence", canvas, OutputSpec("sequence", ("normal", "odd")))
    every = open_inputs(tmp_path, spec)
    assert every.count % 3 == 0
    some = open_inputs(tmp_path, spec, limit=every.count // 2 + 1)
    assert some.count == len(list(some.raw())) == every.count // 2 + 1
    assert {round(float(window.mean())) for window in some.raw()} == {0, 1, 2}


def write_lstm(path: Path) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    hidden, features = 64, 5

    def weight(*shape: int) -> np.ndarray:
        return random.normal(0, 0.2, shape).astype(np.float32)

    constants = {
        "w": weight(1, 4 * hidden, features),
        "r": weight(1, 4 * hidden, hidden),
        "dense": weight(hidden, 3),
        "last": np.array(9, np.int64),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["y"], hidden_size=hidden),
        helper.make_node("Gather", ["y", "last"], ["final"], axis=0),
        helper.make_node("Squeeze", ["final", "direction"], ["state"]),
        helper.make_node("MatMul", ["state", "dense"], ["out"]),
    ]
    constants["direction"] = np.array([0], np.int64)
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 10, features])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return model


def test_recurrent_models_become_dynamic_int8(tmp_path: Path) -> None:
    model = write_lstm(tmp_path / "lstm.onnx")
    assert is_recurrent(model)
    int8 = quantize_dynamically(model, Form("dynamic", weight_bits=weight_bits_here()))
    assert "DynamicQuantizeLSTM" in {node.op_type for node in int8.graph.node}
    assert int8.ByteSize() < 0.5 * model.ByteSize()
    tensor = np.random.default_rng(1).normal(0, 1, (1, 10, 5)).astype(np.float32)
    expected, got = runner(model)(tensor)[0], runner(int8)(tensor)[0]
    assert np.abs(expected - got).max() < 0.1 * np.abs(expected).max()


def test_large_products_overflow_on_no_processor() -> None:
    weights = np.ones((64, 8), np.float32)  # all of them 127 as whole numbers
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="dense")],
        "dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    ranges = {"x": (0.0, 1.0), "y": (0.0, 64.0)}

    def answer(bits: WeightBits) -> float:
        int8 = quantize_static(model, ranges, float_nodes=(), form=Form(weight_bits=bits))
        return float(runner(int8)(np.ones((4, 64), np.float32))[0].min())

    assert answer(7) == pytest.approx(64, rel=0.01)
    assert answer(weight_bits_here()) == pytest.approx(64, rel=0.01)
    assert products_saturate() == (answer(8) < 40)


def test_time_is_measured_in_turns() -> None:
    calls: list[str] = []
    runs = [lambda _t: calls.append("a") or [], lambda _t: calls.append("b") or []]
    medians = interleaved_medians_ms(runs, np.zeros(1), 3)
    assert [name for name, _turn in groupby(calls)] == ["a", "b"] * 5
    assert calls[:4] == ["a", "b"] * 2
    assert len(calls) > 10, "what is as quick as this runs several times in a turn"
    assert all(value >= 0 for value in medians)


def agreement_of_numbers(spec: ModelSpec, answers: list[float], others: list[float]) -> float:
    """Return the agreement of two models that answer with these numbers, an input each."""
    inputs = [Prepared(np.array([[i]], np.int64)) for i in range(len(answers))]

    def model(values: list[float]) -> Answers:
        return Answers(lambda t: [np.array([[values[t[0, 0]]]], np.float32)], inputs, spec)

    return model(answers).agreement_of(model(others)).f1


def test_agreement_of_numbers() -> None:
    canvas = SequenceInput(features=("speed_mps",), window=1, interval_s=1, mean=(0,), std=(1,))
    anomaly = ModelSpec("sequence", canvas, OutputSpec(head="anomaly", score_threshold=1.0))
    # The same, moved by 5 % of the threshold, moved by 30 %, over the threshold.
    moved = agreement_of_numbers(anomaly, [0.2, 0.2, 0.2, 0.99], [0.2, 0.25, 0.5, 1.01])
    assert moved == 0.5
    regress = ModelSpec("sequence", canvas, OutputSpec(head="regress", labels=("eta_s",)))
    # A tenth of the spread (std 10) may move.
    assert agreement_of_numbers(regress, [0.0, 20.0], [0.9, 20.0]) == 1.0
    assert agreement_of_numbers(regress, [0.0, 20.0], [1.1, 20.0]) == 0.5
