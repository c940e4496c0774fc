import csv
import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec, SequenceInput
from edgehaul.errors import DataError, DatasetError, ModelError, SpecMismatchError
from edgehaul_tools.dataset.import_dataset import ImportOptions, import_dataset
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.export.metadata import write_spec
from edgehaul_tools.label.command import label
from edgehaul_tools.label.marking import unsure
from edgehaul_tools.label.model import open_marker
from edgehaul_tools.label.tasks import FORMS
from tests.fakes.models import SIDE_PX, write_tiny_detector

SPEC = ModelSpec(
    "detect", ImageInput(SIDE_PX, SIDE_PX), OutputSpec("edgehaul", ("parcel",), score_threshold=0.5)
)
LEVELS = {"dark": 30, "doubtful": 135, "sure": 230}
"""Grey level of each picture; the model's score is the level as a share of 255."""


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = write_tiny_detector(tmp_path / "tiny.onnx")
    write_spec(path, SPEC)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, level in LEVELS.items():
        cv2.imwrite(str(folder / f"{name}.png"), np.full((64, 128, 3), level, np.uint8))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(label, [str(argument) for argument in arguments])


def labelled(detector: Path, pictures: Path, form: str, *more: str) -> Path:
    out = pictures.parent / f"out_{form}"
    result = run(pictures, "--model", detector, "--out", out, "--to", form, *more)
    assert result.exception is None, result.output
    return out


def boxes_by_name(root: Path) -> dict[str, list[list[float]]]:
    return {
        sample.path.stem: [
            [round(v) for v in (m.box.x1, m.box.y1, m.box.x2, m.box.y2)] for m in sample.boxes
        ]
        for sample in read_dataset(root).samples
    }


def rows_of(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "uncertainty.csv").read_text().splitlines()))


@pytest.mark.parametrize("form", list(FORMS))
def test_marks_are_read_back_in_pixels_of_the_picture(
    form: str, detector: Path, pictures: Path
) -> None:
    out = labelled(detector, pictures, form, "--threshold", "0.48")

    found = boxes_by_name(out)

    # The canvas of 32 x 32 holds the picture of 128 x 64 at a quarter, 8 px from the top; its
    # grey is mixed with that of the padding (114), and the mean makes the box.
    mean = (LEVELS["sure"] + 114) / 2
    box = [mean * 0.03, mean * 0.03, mean * 0.10, mean * 0.12]
    on_picture = [box[0] * 4, (box[1] - 8) * 4, box[2] * 4, (box[3] - 8) * 4]
    expected = [
        round(min(max(v, 0), side)) for v, side in zip(on_picture, (128, 64) * 2, strict=True)
    ]
    assert found["sure"] == [expected]
    assert found["dark"] == []
    assert len(found["doubtful"]) == 1
    least_sure = rows_of(out)[0]
    assert (Path(least_sure["picture"]).stem, least_sure["marks"]) == ("doubtful", "1")


def test_tasks_of_label_studio_carry_scores_and_come_back_corrected(
    detector: Path, pictures: Path, tmp_path: Path
) -> None:
    out = labelled(detector, pictures, "label-studio", "--uncertain-first", "--threshold", "0.48")
    tasks = json.loads((out / "tasks.json").read_bytes())

    assert Path(tasks[0]["data"]["image"]).stem == "doubtful"
    assert [t["id"] for t in tasks] == [1, 2, 3]
    unsure_of = [t["data"]["uncertainty"] for t in tasks]
    assert unsure_of == sorted(unsure_of, reverse=True)
    sure = next(t for t in tasks if "sure" in t["data"]["image"])
    (prediction,) = sure["predictions"]
    assert prediction["result"][0]["score"] == prediction["score"] == pytest.approx(0.674, abs=0.01)
    assert "annotations" not in sure

    # What a person does: one mark is moved, the doubtful one is deleted.
    moved = json.loads(json.dumps(prediction["result"]))
    moved[0]["value"] |= {"x": 25.0, "y": 25.0, "width": 50.0, "height": 50.0}
    for task in tasks:
        task["annotations"] = [{"result": moved if task is sure else []}]
    (out / "tasks.json").write_text(json.dumps(tasks))
    import_dataset(out, tmp_path / "corrected", ImportOptions())

    corrected = boxes_by_name(tmp_path / "corrected")
    assert corrected == {"dark": [], "doubtful": [], "sure": [[32, 16, 96, 48]]}


def test_tasks_of_cvat_carry_scores_and_come_back_corrected(
    detector: Path, pictures: Path, tmp_path: Path
) -> None:
    out = labelled(detector, pictures, "cvat", "--uncertain-first", "--threshold", "0.48")
    tree = ET.parse(out / "annotations.xml")  # noqa: S314 - made here
    images = tree.findall("image")

    assert images[0].get("name") == "doubtful.png"
    assert [image.get("id") for image in images] == ["0", "1", "2"]
    box = next(i for i in images if i.get("name") == "sure.png").find("box")
    assert box is not None
    assert box.get("source") == "auto"
    assert float(box.findtext("attribute[@name='score']", "0")) == pytest.approx(0.674, abs=0.01)

    for side, value in zip(("xtl", "ytl", "xbr", "ybr"), ("10", "20", "30", "40"), strict=True):
        box.set(side, value)
    tree.write(out / "annotations.xml")
    import_dataset(out, tmp_path / "corrected", ImportOptions())

    assert boxes_by_name(tmp_path / "corrected")["sure"] == [[10, 20, 30, 40]]


def write_classifier(path: Path) -> Path:
    """Write a model of two classes, dark and light, by the mean grey."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["raw"]),
        helper.make_node("Add", ["raw", "bias"], ["shifted"]),
        helper.make_node("Softmax", ["shifted"], ["scores"]),
    ]
    constants = {
        "axes": np.array([1, 2], np.int64),
        "weights": np.array([[-0.02, 0.02]] * 3, np.float32),
        "bias": np.array([7.5, -7.5], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 16, 16, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, path)
    canvas = ImageInput(16, 16, resize="stretch")
    write_spec(path, ModelSpec("classify", canvas, OutputSpec("classify", ("dark", "light"))))
    return path


@pytest.mark.parametrize("form", ["label-studio", "cvat"])
def test_a_classifier_gives_each_picture_its_class(
    form: str, pictures: Path, tmp_path: Path
) -> None:
    out = labelled(write_classifier(tmp_path / "c.onnx"), pictures, form, "--uncertain-first")

    found = read_dataset(out)

    assert found.task == "classify"
    classes = {sample.path.stem: found.labels[sample.class_id or 0] for sample in found.samples}
    assert classes == {"dark": "dark", "doubtful": "light", "sure": "light"}
    assert rows_of(out)[0]["picture"] == "doubtful.png"


def test_a_model_directory_is_what_it_says(detector: Path, pictures: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(detector.read_bytes()).hexdigest()
    content = {
        "name": "dock",
        "spec": SPEC,
        "variants": [{"name": "fp32", "path": detector.name, "sha256": digest}],
    }
    (tmp_path / "model.json").write_bytes(msgspec.json.encode(content))
    assert open_marker(tmp_path).name == "dock"
    labelled(tmp_path, pictures, "coco", "--link", "hardlink")

    write_spec(detector, msgspec.structs.replace(SPEC, output=OutputSpec("edgehaul", ("other",))))
    with pytest.raises(ModelError, match=r"not the file that model\.json names"):
        open_marker(tmp_path)


def test_models_that_mark_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        open_marker(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="no model directory"):
        open_marker(tmp_path)
    window = SequenceInput(("speed_mps",), 8, 1.0, (0.0,), (1.0,))
    spec = ModelSpec("sequence", window, OutputSpec("sequence", ("a", "b")))
    content = {"name": "x", "spec": spec, "variants": [{"path": "tiny.onnx", "sha256": ""}]}
    path = write_tiny_detector(tmp_path / "tiny.onnx")
    content["variants"] = [
        {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    ]
    (tmp_path / "model.json").write_bytes(msgspec.json.encode(content))
    with pytest.raises(SpecMismatchError, match="'sequence' marks no pictures"):
        open_marker(tmp_path)


def test_nothing_is_written_when_something_is_wrong(detector: Path, pictures: Path) -> None:
    out = pictures.parent / "out"
    dry = run(pictures, "--model", detector, "--out", out, "--to", "cvat", "--dry-run", "--json")
    assert json.loads(dry.output)["written"] is False
    (pictures / "broken.png").write_bytes(b"")
    assert isinstance(
        run(pictures, "--model", detector, "--out", out, "--to", "cvat").exception, DataError
    )
    assert not list(pictures.parent.glob("out*"))
    out.mkdir()
    (out / "mine").touch()
    taken = run(pictures, "--model", detector, "--out", out, "--to", "cvat")
    assert isinstance(taken.exception, DatasetError)


@pytest.mark.parametrize(
    ("score", "threshold", "expected"),
    [(0.5, 0.5, 1), (1, 0.5, 0), (0, 0.5, 0), (0.75, 0.5, 0.5), (0.1, 0.2, 0.5), (1, 1, 1)],
)
def test_the_nearer_to_the_threshold_the_less_sure(
    score: float, threshold: float, expected: float
) -> None:
    assert unsure(score, threshold) == pytest.approx(expected)
