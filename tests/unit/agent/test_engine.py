from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import ModelError, SpecMismatchError
from edgehaul_agent.inference.engine import check_input
from edgehaul_agent.inference.onnxruntime import open_engine

SPEC = ImageInput(width=4, height=2)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that turns uint8 (n, 2, 4, 3) into its float values, plus one."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["cast", "one"], ["plus_one"]),
        ],
        "plus_one",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 2, 4, 3])],
        [helper.make_tensor_value_info("plus_one", TensorProto.FLOAT, ["n", 2, 4, 3])],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    path = tmp_path / "plus_one.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_a_model_runs_and_tells_its_shapes(model: Path) -> None:
    engine = open_engine(model)
    check_input(engine, SPEC, where=model)
    (output,) = engine.run(np.full((1, 2, 4, 3), 7, np.uint8))
    assert output.dtype == np.float32
    np.testing.assert_array_equal(output, np.full((1, 2, 4, 3), 8.0))
    assert engine.inputs[0].shape == ("n", 2, 4, 3)
    assert engine.outputs[0].name == "plus_one"


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(np.zeros((1, 3, 4, 3), np.uint8), id="shape"),
        pytest.param(np.zeros((1, 2, 4, 3), np.float32), id="type"),
        pytest.param(np.zeros((2, 4), np.uint8), id="rank"),
    ],
)
def test_a_wrong_tensor_is_a_model_error(model: Path, tensor: np.ndarray) -> None:
    with pytest.raises(ModelError, match="the model failed"):
        open_engine(model).run(tensor)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08\x12\x04pack" * 40])
def test_an_unusable_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        open_engine(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text


def test_a_truncated_model_is_refused(model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-30])
    with pytest.raises(ModelError, match="cannot load"):
        open_engine(model)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: no such model file"):
        open_engine(tmp_path / "gone.onnx")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(ImageInput(width=8, height=2), id="width"),
        pytest.param(ImageInput(width=4, height=2, layout="nchw"), id="layout"),
        pytest.param(ImageInput(width=4, height=2, dtype="float32"), id="type"),
        pytest.param(ImageInput(width=4, height=2, name="pixels"), id="name"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(model: Path, spec: ImageInput) -> None:
    with pytest.raises(SpecMismatchError, match=r"plus_one\.onnx: the spec feeds"):
        check_input(open_engine(model), spec, where=model)
