"""Tiny ONNX models whose answers can be told by hand, for tests of what measures models."""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import FixFilter, ImageInput, ModelSpec, OutputSpec, SequenceInput

SIDE_PX = 16
COLORS = ("blue", "green", "red")


def write_color_classifier(
    path: Path, *, labels: tuple[str, ...] = COLORS, broken: bool = False
) -> Path:
    """Write a classifier: the strongest colour channel is the class, the surer the purer.

    Args:
        path: The file.
        labels: Names of the classes: blue, green and red by their meaning.
        broken: Answers with NaN where a picture is white.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "scale"], ["logits"]),
    ]
    constants = {"axes": np.array([1, 2], np.int64), "scale": np.array(64, np.float32)}
    if broken:
        nodes += [
            helper.make_node("ReduceMin", ["mean", "channel"], ["least"], keepdims=1),
            helper.make_node("Sub", ["white", "least"], ["distance"]),
            helper.make_node("Div", ["distance", "distance"], ["one_or_nan"]),
            helper.make_node("Mul", ["logits", "one_or_nan"], ["checked"]),
        ]
        constants |= {"channel": np.array([1], np.int64), "white": np.array(255, np.float32)}
    source = "checked" if broken else "logits"
    nodes.append(helper.make_node("Softmax", [source], ["scores"], axis=1))
    spec = ModelSpec(
        "classify",
        ImageInput(SIDE_PX, SIDE_PX, resize="stretch", color="bgr"),
        OutputSpec("classify", labels, score_threshold=0.5),
    )
    return _write(path, spec, nodes, constants, {"scores": [1, len(labels)]})


def write_brightness_anomaly(path: Path, *, threshold: float = 60.0, broken: bool = False) -> Path:
    """Write an anomaly model: the score of a picture is its mean distance from middle grey.

    Args:
        path: The file.
        threshold: Score from which a picture is reported.
        broken: Answers with NaN always.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "grey"], ["shifted"]),
        helper.make_node("Abs", ["shifted"], ["distance"]),
        helper.make_node("ReduceMean", ["distance", "channel"], ["error_map"], keepdims=0),
        helper.make_node("ReduceMean", ["error_map", "axes"], ["flat"], keepdims=0),
        helper.make_node("Reshape", ["flat", "column"], ["score"]),
    ]
    constants = {
        "grey": np.array(np.nan if broken else 128, np.float32),
        "channel": np.array([3], np.int64),
        "axes": np.array([1, 2], np.int64),
        "column": np.array([-1, 1], np.int64),
    }
    spec = ModelSpec(
        "anomaly",
        ImageInput(SIDE_PX, SIDE_PX, resize="stretch"),
        OutputSpec("anomaly", score_threshold=threshold),
    )
    return _write(
        path, spec, nodes, constants, {"score": [1, 1], "error_map": [1, SIDE_PX, SIDE_PX]}
    )


def write_speed_model(
    path: Path,
    head: str,
    *,
    feature: str = "speed_mps",
    limit: float = 20.0,
    window: int = 5,
    fix_filter: FixFilter = "none",
) -> Path:
    """Write a model of windows of one feature, judged by the last step.

    Args:
        path: The file.
        head: ``sequence``: from ``limit`` on it is ``speeding``; ``anomaly``: the value is the
            score and ``limit`` the threshold; ``regress``: it is driven on straight at it.
        feature: The feature or channel.
        limit: See above.
        window: Steps in a window.
        fix_filter: What passes over the fixes first.
    """
    nodes = [
        helper.make_node("Slice", ["window", "start", "end", "axis"], ["last"]),
        helper.make_node("Reshape", ["last", "column"], ["value"]),
    ]
    constants = {
        "start": np.array([window - 1], np.int64),
        "end": np.array([window], np.int64),
        "axis": np.array([1], np.int64),
        "column": np.array([-1, 1], np.int64),
    }
    if head == "sequence":
        constants |= {
            "weights": np.array([[-1, 1]], np.float32),
            "bias": np.array([limit, -limit], np.float32),
        }
        nodes += [
            helper.make_node("MatMul", ["value", "weights"], ["sides"]),
            helper.make_node("Add", ["sides", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ]
        shapes = {"scores": [1, 2]}
        output = OutputSpec("sequence", ("normal", "speeding"), 0.5, normal_label="normal")
    elif head == "regress":
        constants["weights"] = np.array([[5.0, 0.0]], np.float32)
        nodes.append(helper.make_node("MatMul", ["value", "weights"], ["values"]))
        shapes = {"values": [1, 2]}
        output = OutputSpec("regress", ("forward_m", "left_m"), horizon_s=5.0)
    else:
        nodes.append(helper.make_node("Identity", ["value"], ["score"]))
        shapes = {"score": [1, 1]}
        output = OutputSpec("anomaly", score_threshold=limit)
    canvas = SequenceInput((feature,), window, 1.0, (0.0,), (1.0,), filter=fix_filter)
    spec = ModelSpec("sequence", canvas, output)
    return _write(path, spec, nodes, constants, shapes)


def _write(
    path: Path,
    spec: ModelSpec,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    outputs: dict[str, list[int]],
) -> Path:
    if isinstance(spec.input, ImageInput):
        entry = helper.make_tensor_value_info("image", TensorProto.UINT8, spec.input.tensor_shape)
    else:
        entry = helper.make_tensor_value_info("window", TensorProto.FLOAT, spec.input.tensor_shape)
    graph = helper.make_graph(
        nodes,
        "answering",
        [entry],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {"edgehaul.spec": msgspec.json.encode(spec).decode()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
