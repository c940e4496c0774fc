"""Models whose real outputs are not those of their spec, where the declared ones say nothing."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.errors import EdgeHaulError, SpecMismatchError
from edgehaul_tools.export.metadata import SPEC_KEY
from edgehaul_tools.pack.pack import Label, pack_directory
from edgehaul_tools.quantize.directory import read_directory, write_json
from edgehaul_tools.quantize.graph import clean, load_model
from edgehaul_tools.quantize.quantize import Options, quantize_model
from edgehaul_tools.verify.verify import verify_directory
from tests.fakes.detectors import write_pictures

SPEC = ModelSpec(
    "detect", ImageInput(32, 32, layout="nchw", dtype="float32"), OutputSpec("edgehaul", ("box",))
)
BOX = np.array([[[2, 2, 20, 20]]], np.float32)
SCORE = np.array([[[0.9]]], np.float32)


def write_constant(path: Path, *answers: np.ndarray) -> Path:
    """Write a model that always gives these answers; their declared dimensions are free."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants = {"w": np.ones((4, 3, 3, 3), np.float32), "zero": np.array(0, np.float32)}
    outputs = []
    for index, answer in enumerate(answers):
        constants[f"a{index}"] = answer.astype(np.float32)
        nodes.append(helper.make_node("Add", ["nothing", f"a{index}"], [f"y{index}"]))
        free = [f"y{index}d{axis}" for axis in range(3)]
        outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, free))
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {SPEC_KEY: msgspec.json.encode(SPEC).decode()})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ((BOX, np.array([[[0.1, 0.2, 0.9]]])), "answers for 3 classes, but the spec has 1 labels"),
        ((BOX, np.array([[[0.1], [0.9], [0.9]]])), "1 rows of scores, not 3"),
        ((BOX[:, :, :3], SCORE), "4 values for each box, not 3"),
        ((BOX, np.zeros((1, 1, 0))), "no columns; the outputs are 1x1x4, 1x1x0"),
        ((BOX, SCORE[0]), "needs outputs of 3 axes .* the outputs are 1x1x4, 1x1;"),
    ],
    ids=["classes", "rows", "columns", "no classes", "axes"],
)
def test_real_outputs_are_held_against_the_spec(
    answers: tuple[np.ndarray, ...], message: str, tmp_path: Path
) -> None:
    path = write_constant(tmp_path / "m.onnx", *answers)
    pictures = write_pictures(tmp_path / "pictures", 2)
    with pytest.raises(SpecMismatchError, match=message) as caught:
        quantize_model(path, tmp_path / "out", pictures)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_model_that_finds_nothing_fits(tmp_path: Path) -> None:
    path = write_constant(tmp_path / "m.onnx", np.zeros((1, 0, 4)), np.zeros((1, 0, 1)))
    quantize_model(path, tmp_path / "out", write_pictures(tmp_path / "pictures", 2))


def test_verify_and_pack_hold_every_variant_against_the_spec(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 2)
    out = tmp_path / "out"
    quantize_model(write_constant(tmp_path / "m.onnx", BOX, SCORE), out, pictures)
    made = read_directory(out)
    wrong = write_constant(out / "int8.onnx", BOX, np.array([[[0.9, 0.9]]])).read_bytes()
    int8 = msgspec.structs.replace(
        made.variants[1], sha256=hashlib.sha256(wrong).hexdigest(), size_bytes=len(wrong)
    )
    variants = (made.variants[0], int8)
    write_json(out / "model.json", msgspec.structs.replace(made, variants=variants))
    with pytest.raises(SpecMismatchError, match=r"int8\.onnx: .* answers for 2 classes"):
        verify_directory(out, frames=pictures)
    with pytest.raises(SpecMismatchError, match=r"int8\.onnx: .* answers for 2 classes"):
        pack_directory(out, tmp_path / "m.edgehaul", Label("m", "1.0.0"), unverified=True)
    assert not (tmp_path / "m.edgehaul").exists()


def test_recurrent_models_are_run_before_they_are_written(tmp_path: Path) -> None:
    hidden = 4
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "y"], hidden_size=hidden),
    ]
    constants = {
        "w": np.ones((1, 4 * hidden, 1), np.float32),
        "r": np.ones((1, 4 * hidden, hidden), np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 5, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    canvas = SequenceInput(("speed_mps",), 5, 1.0, (0.0,), (1.0,))
    spec = ModelSpec("sequence", canvas, OutputSpec("sequence", ("one", "other")))
    helper.set_model_props(model, {SPEC_KEY: msgspec.json.encode(spec).decode()})
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(SpecMismatchError, match="answers for 4 classes"):
        quantize_model(tmp_path / "m.onnx", tmp_path / "out", None)
    assert not (tmp_path / "out" / "model.json").exists()
    four = Options(labels=("a", "b", "c", "d"))
    quantize_model(tmp_path / "m.onnx", tmp_path / "out", None, four)


def test_a_graph_that_cannot_be_slimmed_is_taken_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_constant(tmp_path / "m.onnx", BOX, SCORE[0])  # one axis fewer than declared
    model = clean(load_model(path), where=path)
    assert [node.op_type for node in model.graph.node][:1] == ["Conv"]
    assert "m.onnx: onnxslim fails on it (IndexError" in caplog.text


def test_a_graph_that_nobody_can_read_is_refused_in_one_line(tmp_path: Path) -> None:
    model = onnx.load(write_constant(tmp_path / "m.onnx", BOX, SCORE))
    model.graph.node[1].input[0] = model.graph.node[3].output[0]  # a circle
    onnx.save(model, tmp_path / "circle.onnx")
    with pytest.raises(EdgeHaulError, match=r"circle\.onnx: the graph is invalid") as caught:
        quantize_model(tmp_path / "circle.onnx", tmp_path / "out", None)
    assert "\n" not in str(caught.value)
