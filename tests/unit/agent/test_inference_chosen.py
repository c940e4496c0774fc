"""Models that choose their boxes themselves, run by ONNX Runtime as the agent runs them."""

from operator import attrgetter
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul_agent.inference.onnxruntime import open_engine
from edgehaul_agent.inference.pictures import open_picture_model
from tests.fakes.detectors import CELLS, SIDE_PX, write_detector


@pytest.mark.parametrize("head", ["end2end", "ssd_tf", "torchvision"])
def test_models_that_choose_their_boxes_say_the_same_as_their_raw_tables(
    head: str, tmp_path: Path
) -> None:
    """Against the raw head without suppression; class numbers may be integers."""
    raw = write_detector(tmp_path / "raw.onnx", metadata=False)
    chosen = write_choosing(raw, tmp_path / "chosen.onnx", head)
    output = OutputSpec("edgehaul", ("parcel", "pallet"), score_threshold=0.4, iou_threshold=1.0)
    plain = ModelSpec("detect", ImageInput(SIDE_PX, SIDE_PX), output)
    spec = msgspec.structs.replace(plain, output=msgspec.structs.replace(output, head=head))
    picture = np.random.default_rng(1).integers(0, 255, (48, 96, 3), np.uint8)
    found = []
    for path, model_spec in ((raw, plain), (chosen, spec)):
        model = open_picture_model(open_engine(path), model_spec, where=path)
        found.append(model.look(picture))
    assert len(found[0]) > 3
    key = attrgetter("score", "label", "box.x1", "box.y1")
    for one, other in zip(*(sorted(f, key=key) for f in found), strict=True):
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert list(msgspec.to_builtins(one.box)) == pytest.approx(
            list(msgspec.to_builtins(other.box)), abs=1e-3
        )


def write_choosing(raw: Path, path: Path, head: str) -> Path:
    """Write a detector whose graph goes on from the raw tables to chosen classes and scores."""
    model = onnx.load(raw)
    graph = model.graph
    outputs: list[tuple[str, int, list[int | str]]] = []
    ids, floats = TensorProto.INT64, TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMax", ["scores"], ["best"], axes=[2], keepdims=0),
        helper.make_node("ArgMax", ["scores"], ["index"], axis=2, keepdims=0),
    ]
    if head == "end2end":
        nodes += [
            helper.make_node("Cast", ["index"], ["float_index"], to=floats),
            helper.make_node("Unsqueeze", ["float_index", "last"], ["class_column"]),
            helper.make_node("Unsqueeze", ["best", "last"], ["score_column"]),
            helper.make_node("Concat", ["boxes", "score_column", "class_column"], ["out"], axis=2),
        ]
        outputs += [("out", floats, [1, CELLS, 6])]
    elif head == "ssd_tf":
        nodes += [
            helper.make_node("Gather", ["boxes", "yx"], ["turned"], axis=2),
            helper.make_node("Div", ["turned", "side"], ["shares"]),
            helper.make_node("Add", ["index", "one"], ["number"]),
            helper.make_node("Cast", ["number"], ["class_numbers"], to=floats),
        ]
        outputs.append(("shares", floats, [1, CELLS, 4]))
        outputs += [(name, floats, [1, CELLS]) for name in ("class_numbers", "best")]
    else:
        nodes += [
            helper.make_node("Add", ["index", "one"], ["number"]),
            *(
                helper.make_node("Squeeze", [name, "first"], [f"{name}_of_one"])
                for name in ("boxes", "number", "best")
            ),
        ]
        outputs += [
            ("boxes_of_one", floats, ["n", 4]),
            ("number_of_one", ids, ["n"]),
            ("best_of_one", floats, ["n"]),
        ]
    constants = {
        "last": np.array([2]),
        "first": np.array([0]),
        "one": np.array(1),
        "yx": np.array([1, 0, 3, 2]),
        "side": np.array(SIDE_PX, np.float32),
    }
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(*output) for output in outputs)
    onnx.save(model, path)
    return path
