"""A detector of floats that finds brown parcels on the virtual conveyor, without any training."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec

WIDTH, HEIGHT, CELL_PX = 160, 120, 8
ROWS, COLUMNS = HEIGHT // CELL_PX, WIDTH // CELL_PX
_BOX_PX = 30
BROWN = ModelSpec(
    "detect",
    ImageInput(
        WIDTH,
        HEIGHT,
        resize="stretch",
        color="rgb",
        layout="nchw",
        dtype="float32",
        scale=1 / 255,
    ),
    OutputSpec("edgehaul", ("parcel",), score_threshold=0.5, iou_threshold=0.1),
)


def write_brown_detector(path: Path) -> Path:
    """Write a detector that takes RGB in 0..1 (1, 3, 120, 160) and scores red less blue.

    A cell's score is the brownness of the three by three cells around it; the yellow rails above
    and below the belt are left out. Colours in the wrong order find nothing.
    """
    color = np.zeros((8, 3, CELL_PX, CELL_PX), np.float32)
    color[:, 0], color[:, 2] = 1 / CELL_PX**2, -1 / CELL_PX**2
    near = np.zeros((1, 8, 3, 3), np.float32)
    near[0, 0] = 1 / 9
    score = np.full((ROWS, COLUMNS), -4.0, np.float32)
    score[:3] = score[-3:] = -99.0
    y, x = (np.mgrid[:ROWS, :COLUMNS] + 0.5) * CELL_PX
    half = _BOX_PX / 2
    boxes = np.stack([x - half, y - half, x + half, y + half], -1).reshape(1, -1, 4)
    constants = {
        "color": color,
        "near": near,
        "factor": np.array(60.0, np.float32),
        "score_offset": score.reshape(1, -1, 1),
        "rows": np.array([1, -1, 1], np.int64),
        "none": np.array(0.0, np.float32),
        "places": boxes.astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["images", "color"], ["c"], strides=[CELL_PX, CELL_PX]),
        helper.make_node("Relu", ["c"], ["brown"]),
        helper.make_node("Conv", ["brown", "near"], ["level"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["level", "rows"], ["levels"]),
        helper.make_node("Mul", ["levels", "factor"], ["large"]),
        helper.make_node("Add", ["large", "score_offset"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Mul", ["levels", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "places"], ["boxes"]),
    ]
    cells = ROWS * COLUMNS
    graph = helper.make_graph(
        nodes,
        "brown",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, cells, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, cells, 1]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
