"""The known failure of int8 detectors: boxes and scores in one tensor, with one scale for both.

Boxes reach hundreds of pixels, scores end at 1: a step of the shared scale is larger than every
score, and the detector finds nothing. Naive quantization shows it; ours keeps the tail in float.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from edgehaul.bundle.spec import ModelSpec, OutputSpec
from edgehaul_tools.cli import main
from edgehaul_tools.export.runtime import runner
from edgehaul_tools.quantize.answers import Answers
from edgehaul_tools.quantize.directory import read_directory
from edgehaul_tools.quantize.inputs import InputSource, open_inputs
from tests.fakes.detectors import CELLS, SPEC, write_detector, write_pictures

JOINED = ModelSpec("detect", SPEC.input, OutputSpec("yolov8", SPEC.output.labels, 0.3))


def write_joined(path: Path) -> Path:
    """Write the small detector with one output (1, 4 + 2, cells), as YOLOv8 exports have it."""
    model = onnx.load(write_detector(path))
    graph = model.graph
    corner = np.tile(np.stack(np.mgrid[:8, :8][::-1], 0).reshape(1, 2, CELLS) * 8.0, (1, 2, 1))
    sizes = np.zeros((1, 4, CELLS))
    sizes[:, 2:] = 12.0
    sizes[:, 2:, 0] = 640.0  # on a canvas of 640 pixels some box is as large
    constants = {
        "anchor_box": np.concatenate([corner[:, :2] + 6, sizes[:, 2:]], axis=1),
        "flat4": np.array([0, 4, -1], np.int64),
        "flat2": np.array([0, 2, -1], np.int64),
    }
    kept = [node for node in graph.node if node.op_type in {"Cast", "Mul", "Conv", "Relu"}]
    kept += [node for node in graph.node if node.output[0] == "x0"]
    tail = [
        helper.make_node("Reshape", ["box_map", "flat4"], ["box_flat"]),
        helper.make_node("Add", ["box_flat", "anchor_box"], ["box_all"]),
        helper.make_node("Reshape", ["score_map", "flat2"], ["score_flat"]),
        helper.make_node("Sigmoid", ["score_flat"], ["score_all"]),
        helper.make_node("Concat", ["box_all", "score_all"], ["output"], axis=1),
    ]
    order = {"Cast": 0, "Mul": 1, "Transpose": 2}
    inputs_first = sorted(kept, key=lambda node: order.get(node.op_type, 3))
    del graph.node[:]
    graph.node.extend([*inputs_first, *tail])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 6, CELLS]))
    for name, value in constants.items():
        dtype = np.int64 if value.dtype == np.int64 else np.float32
        graph.initializer.append(numpy_helper.from_array(value.astype(dtype), name))
    del model.metadata_props[:]
    helper.set_model_props(model, {"edgehaul.spec": msgspec.json.encode(JOINED).decode()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


class Reader(CalibrationDataReader):
    """Hands the pictures to ONNX Runtime's own quantizer."""

    def __init__(self, source: InputSource) -> None:
        self._inputs: Iterator[NDArray[np.uint8]] = (item.tensor for item in source.prepared())

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """Return the next picture, or none at the end."""
        tensor = next(self._inputs, None)
        return None if tensor is None else {"image": tensor}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("joined")
    write_joined(made / "model.onnx")
    write_pictures(made / "pictures", 12)
    return made


def answers_of(path: Path, folder: Path) -> Answers:
    source = open_inputs(folder / "pictures", JOINED)
    return Answers(runner(path), source.prepared(), JOINED)


def test_naive_quantization_finds_nothing_and_ours_all_of_it(folder: Path) -> None:
    model = folder / "model.onnx"
    expected = answers_of(model, folder)
    assert sum(map(len, expected.detections)) > 50
    source = open_inputs(folder / "pictures", JOINED)
    quantize_static(model, folder / "naive.onnx", Reader(source))
    naive = answers_of(folder / "naive.onnx", folder)
    assert sum(map(len, naive.detections)) == 0, "a step of the scale is larger than any score"

    out = folder / "ours"
    asked = ["--calib", str(folder / "pictures"), "--min-agreement", "0.9", "--out", str(out)]
    assert main(["quantize", str(model), *asked]) == 0
    int8 = read_directory(out).variants[1]
    assert expected.agreement_of(answers_of(out / int8.path, folder)).f1 >= 0.9
    nodes = {node.output[0]: node for node in onnx.load(out / int8.path).graph.node}
    assert nodes["output"].op_type == "Concat", "boxes and scores meet in float"
