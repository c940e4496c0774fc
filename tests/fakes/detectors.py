"""A small convolutional detector with random weights, and pictures to quantize it on."""

from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec

SIDE_PX = 64
CELLS = (SIDE_PX // 8) ** 2
SPEC = ModelSpec(
    "detect",
    ImageInput(SIDE_PX, SIDE_PX),
    OutputSpec("edgehaul", ("parcel", "pallet"), score_threshold=0.3),
)


def write_detector(path: Path, *, metadata: bool = True, layers: int = 3) -> Path:
    """Write an ONNX detector: uint8 NHWC in; boxes and scores of one place in each 8x8 px out."""
    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    constants = {"scale": np.array(1 / 255, np.float32), "places": np.array([0, -1, 4], np.int64)}
    constants["classes"] = np.array([0, -1, 2], np.int64)
    channels = 3
    for step in range(layers):
        weight = random.normal(0, (2 / (channels * 9)) ** 0.5, (16, channels, 3, 3))
        constants[f"w{step}"] = weight.astype(np.float32)
        options = {"strides": [2, 2] if step < 3 else [1, 1], "pads": [1, 1, 1, 1]}
        nodes += [
            helper.make_node("Conv", [f"x{step}", f"w{step}"], [f"c{step}"], **options),
            helper.make_node("Relu", [f"c{step}"], [f"x{step + 1}"]),
        ]
        channels = 16
    for name, columns in (("box", 4), ("score", 2)):
        weight = random.normal(0, 0.5, (columns, channels, 1, 1)).astype(np.float32)
        constants[f"w_{name}"] = weight
        nodes.append(helper.make_node("Conv", [f"x{layers}", f"w_{name}"], [f"{name}_map"]))
    corner = np.tile(np.stack(np.mgrid[:8, :8][::-1], -1).reshape(1, CELLS, 2) * 8.0, (1, 1, 2))
    constants["anchor"] = (corner + np.array([0, 0, 12, 12])).astype(np.float32)
    nodes += [
        helper.make_node("Transpose", ["box_map"], ["box_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["box_last", "places"], ["box_rows"]),
        helper.make_node("Add", ["box_rows", "anchor"], ["boxes"]),
        helper.make_node("Transpose", ["score_map"], ["score_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["score_last", "classes"], ["score_rows"]),
        helper.make_node("Sigmoid", ["score_rows"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, CELLS, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CELLS, 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if metadata:
        helper.set_model_props(model, {"edgehaul.spec": msgspec.json.encode(SPEC).decode()})
    onnx.save(model, path)
    return path


def write_pictures(folder: Path, count: int) -> Path:
    """Write pictures with coloured blocks."""
    random = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture = cv2.resize(
            random.integers(0, 255, (6, 8, 3), dtype=np.uint8), (96, 72), interpolation=0
        )
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture)
    return folder
