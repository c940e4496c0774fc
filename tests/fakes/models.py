"""Tiny ONNX models with the outputs of an EdgeHaul detector, for tests of everything around it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 32
WEIGHTS = np.array(
    [[0.02, 0.02, 0.05, 0.05], [0.01, 0.0, 0.03, 0.05], [0.0, 0.01, 0.02, 0.02]], np.float32
)


def write_constant_detector(path: Path, *, boxes: np.ndarray, scores: np.ndarray) -> Path:
    """Write a model that takes uint8 NHWC, leaves the shapes of its outputs open and answers alike.

    Args:
        path: The file.
        boxes: Its first output.
        scores: Its second output.
    """
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "all_boxes"], ["boxes"]),
        helper.make_node("Add", ["nothing", "all_scores"], ["scores"]),
    ]
    constants = {
        "zero": np.array(0, np.float32),
        "all_boxes": boxes.astype(np.float32),
        "all_scores": scores.astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}{i}" for i in range(3)])
            for name in ("boxes", "scores")
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.save(model, path)
    return path


def write_tiny_detector(
    path: Path, *, weights: np.ndarray = WEIGHTS, extra_work: int = 0, ballast_mib: int = 0
) -> Path:
    """Write a model: uint8 NHWC in; one box from the mean colour, and its score, out.

    Args:
        path: The file.
        weights: (3, 4) from mean colour to the box.
        extra_work: Number of large matrix products that change nothing but the time.
        ballast_mib: Weights that change nothing but the memory that a session takes.
    """
    # One element is read, at a place that the runtime does not know when it loads the model.
    ballast = [
        helper.make_node("Mul", ["level", "zero"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["ballast", "place"], ["picked"]),
        helper.make_node("Add", ["share", "picked"], ["full_share"]),
    ]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["flat_box"]),
        helper.make_node("Reshape", ["flat_box", "box_shape"], ["boxes"]),
        helper.make_node("ReduceMean", ["pixels", "all_axes"], ["level"], keepdims=0),
        helper.make_node("Div", ["level", "full"], ["share"]),
        *(ballast if ballast_mib else ()),
        # Made of the picture, lest the runtime computes it once when it loads the model.
        helper.make_node("Mul", ["level", "zeros"], ["work0"]),
        *(
            helper.make_node("MatMul", [f"work{step}", "zeros"], [f"work{step + 1}"])
            for step in range(extra_work)
        ),
        helper.make_node(
            "Add", ["full_share" if ballast_mib else "share", f"work{extra_work}"], ["wide_share"]
        ),
        helper.make_node("ReduceMax", ["wide_share", "work_axes"], ["top"], keepdims=0),
        helper.make_node("Reshape", ["top", "score_shape"], ["scores"]),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "all_axes": np.array([1, 2, 3], np.int64),
        "work_axes": np.array([0, 1], np.int64),
        "weights": weights,
        "box_shape": np.array([-1, 1, 4], np.int64),
        "score_shape": np.array([-1, 1, 1], np.int64),
        "full": np.array(255, np.float32),
        "zeros": np.zeros((256, 256) if extra_work else (1, 1), np.float32),
    }
    if ballast_mib:
        constants |= {
            "zero": np.array(0, np.float32),
            "ballast": np.zeros(ballast_mib * 2**18, np.float32),
        }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
