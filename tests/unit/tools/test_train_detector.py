"""The detector learns, keeps its run and is exported without a change in its answers."""

import json
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import DetectorRecipe, Recipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection
from edgehaul.errors import DatasetError, ModelError, SpecMismatchError, UsageError
from edgehaul.geometry import Box
from edgehaul.vision.decode import decoder_for
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.export.metadata import SPEC_KEY, read_metadata, read_spec, write_spec
from edgehaul_tools.export.onnx_model import require_parity, run_onnx
from edgehaul_tools.export.run import PARITY_LIMIT, ExportReport, export_run, load_module
from edgehaul_tools.train.detector.training import detector_spec, fit_detector, train_detector
from edgehaul_tools.train.loop.optimization import EpochReport
from edgehaul_tools.train.pictures.canvases import IGNORED, load_canvases
from edgehaul_tools.train.run_directory import TrainingRun

Trained = tuple[Path, TrainingRun, list[EpochReport]]
Exported = tuple[Path, ExportReport]
LABELS = ("dark", "bright")
RECIPE = DetectorRecipe(
    width=96,
    height=64,
    channels=(8, 8, 16, 16),
    optimizer=OptimizerSection(epochs=14, batch=8, learning_rate=8e-3, average_decay=0.95),
    augment=AugmentSection(scale=0.05, shift=0.02),
    threads=1,
)


def write_dataset(folder: Path, count: int, seed: int) -> DetectionDataset:
    """Write pictures of twice the canvas's size with one dark or bright rectangle each."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        image = random.integers(90, 130, (128, 192, 3), dtype=np.uint8)
        x, y = random.integers(4, 110), random.integers(4, 60)
        width, height = random.integers(40, 70), random.integers(36, 60)
        label = number % 2
        image[y : y + height, x : x + width] = 230 if label else 20
        path = folder / f"{number:03d}.png"
        cv2.imwrite(str(path), image)
        box = Box.from_xywh(float(x), float(y), float(width), float(height))
        samples.append(Sample(path, "g", 192, 128, (TrueBox(box, label),)))
    return DetectionDataset(folder, LABELS, tuple(samples))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a run directory and its report, trained once for all tests here."""
    folder = tmp_path_factory.mktemp("detector")
    train, val = write_dataset(folder / "t", 48, 1), write_dataset(folder / "v", 16, 2)
    reports = []
    run = train_detector(RECIPE, train, val, folder / "run", reports.append)
    return folder / "run", run, reports


@pytest.fixture(scope="module")
def exported(trained: Trained) -> Exported:
    path = trained[0].parent / "out" / "model.onnx"
    return path, export_run(trained[0], path)


def test_it_learns_and_says_so(trained: Trained) -> None:
    _, run, reports = trained
    assert run.metrics["mAP50"] > 0.9
    assert run.counts == {"train": 48, "val": 16}
    assert run.recipe == Recipe(detector=RECIPE)
    assert [report.epoch for report in reports] == list(range(1, 15))
    assert reports[-1].value == run.metrics["mAP50"]
    assert reports[-1].loss < reports[0].loss


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "t", 8, 1)
    optimizer = msgspec.structs.replace(RECIPE.optimizer, epochs=1)
    recipe = msgspec.structs.replace(RECIPE, optimizer=optimizer)
    spec = detector_spec(recipe, LABELS)
    canvases = load_canvases(data, spec.input)
    before = torch.get_rng_state(), torch.get_num_threads()
    first, second = (
        fit_detector(recipe, spec, canvases, canvases).network.state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_the_onnx_model_is_lean_and_answers_as_torch_does(exported: Exported) -> None:
    path, report = exported
    model = onnx.load(path)
    operators = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operators
    assert report.exporter == "dynamo"
    assert max(report.parity.values()) <= PARITY_LIMIT
    assert json.loads((path.with_suffix(".export.json")).read_text())["parity"] == report.parity
    tensors = {v.name: v.type.tensor_type for v in (*model.graph.input, *model.graph.output)}
    assert set(tensors) == {"image", "boxes", "scores"}
    assert tensors["image"].elem_type == onnx.TensorProto.UINT8
    assert tensors["image"].shape.dim[0].dim_param == "batch"
    assert model.opset_import[0].version == 20


def test_it_finds_the_object_through_the_box_s_own_stages(
    exported: Exported, tmp_path: Path
) -> None:
    path, _ = exported
    spec = read_spec(path)
    sample = write_dataset(tmp_path / "n", 2, 77).samples[1]
    tensor, placement = Preprocessor(spec.input)(cv2.imread(str(sample.path)))
    found = decoder_for(spec)(run_onnx(path, tensor), placement).to_values(spec.output.labels)
    assert found[0].label == "bright"
    assert found[0].box.iou(sample.boxes[0].box) > 0.6


def test_the_module_takes_the_same_bytes_as_the_model(trained: Trained, exported: Exported) -> None:
    image = np.full((2, 64, 96, 3), 100, dtype=np.uint8)
    boxes, scores = load_module(trained[0])(torch.from_numpy(image))
    theirs = run_onnx(exported[0], image)
    assert np.allclose(boxes.detach(), theirs[0], atol=1e-3)
    assert np.allclose(scores.detach(), theirs[1], atol=1e-4)


def test_a_spec_is_kept_in_the_file_and_can_be_replaced(
    exported: Exported, tmp_path: Path, trained: Trained
) -> None:
    path = tmp_path / "copy.onnx"
    path.write_bytes(exported[0].read_bytes())
    assert read_spec(path) == trained[1].spec
    output = msgspec.structs.replace(trained[1].spec.output, score_threshold=0.7)
    write_spec(path, msgspec.structs.replace(trained[1].spec, output=output))
    assert read_spec(path).output.score_threshold == 0.7
    assert list(read_metadata(path)).count(SPEC_KEY) == 1


def test_files_that_are_no_models_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    for content in (b"", b"not a model", b"\x08"):
        bad.write_bytes(content)
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            read_spec(bad)
    with pytest.raises(ModelError, match=r"none\.onnx.*no such file"):
        read_spec(tmp_path / "none.onnx")


def test_a_spec_from_the_future_is_refused(exported: Exported, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    model = onnx.load(exported[0])
    onnx.helper.set_model_props(model, {SPEC_KEY: '{"task": "sing"}'})
    onnx.save(model, path)
    with pytest.raises(SpecMismatchError, match=r"m\.onnx.*--spec"):
        read_spec(path)


@pytest.mark.parametrize("difference", [1e-3, float("nan")])
def test_a_model_that_answers_otherwise_is_refused(tmp_path: Path, difference: float) -> None:
    require_parity({"boxes": 1e-6}, PARITY_LIMIT, tmp_path)
    with pytest.raises(ModelError, match="scores"):
        require_parity({"boxes": 1e-6, "scores": difference}, PARITY_LIMIT, tmp_path)


def test_canvases_hold_boxes_in_canvas_pixels_and_mark_what_is_ignored(tmp_path: Path) -> None:
    sample = write_dataset(tmp_path, 1, 3).samples[0]
    ignored = Sample(sample.path, "g", 192, 128, sample.boxes, (Box(150, 100, 192, 128),))
    data = DetectionDataset(tmp_path, LABELS, (ignored,))
    canvases = load_canvases(data, ImageInput(width=96, height=64))
    box = sample.boxes[0].box
    assert canvases.classes[0].tolist() == [0, IGNORED]
    assert canvases.boxes[0][0].tolist() == [box.x1 / 2, box.y1 / 2, box.x2 / 2, box.y2 / 2]
    assert canvases.images.shape == (1, 64, 96, 3)


def test_a_lost_picture_is_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path, 1, 3)
    data.samples[0].path.unlink()
    with pytest.raises(DatasetError, match=r"000\.png"):
        load_canvases(data, ImageInput(width=96, height=64))


def test_a_class_without_an_object_is_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "d", 2, 3)
    more = DetectionDataset(data.root, (*data.labels, "pallet", "drum"), data.samples)
    with pytest.raises(DatasetError, match=r"training part is of: pallet, drum.*remove the class"):
        train_detector(RECIPE, more, data.subset(()), tmp_path / "run")
    waiting = msgspec.structs.replace(RECIPE.optimizer, patience=2)
    recipe = msgspec.structs.replace(RECIPE, optimizer=waiting)
    with pytest.raises(UsageError, match=r"no such part.*split\.val"):
        train_detector(recipe, data, data.subset(()), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pictures_without_labels_cannot_be_learnt_from(tmp_path: Path) -> None:
    sample = write_dataset(tmp_path / "d", 1, 3).samples[0]
    data = DetectionDataset(tmp_path, LABELS, (Sample(sample.path, "g", 192, 128, ()),))
    with pytest.raises(DatasetError, match="no labelled object"):
        train_detector(RECIPE, data, data.subset(()), tmp_path / "run")
