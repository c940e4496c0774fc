"""An autoencoder learns normal pictures, finds others, and is exported unchanged."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import AnomalyRecipe
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection
from edgehaul.errors import DatasetError, ModelError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.verdicts import anomaly_score
from edgehaul_tools.dataset.image_folder import read_image_folder
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.export.onnx_model import (
    TensorNames,
    export_module,
    measure_parity,
    run_onnx,
)
from edgehaul_tools.train.anomaly.deployed import DeployedImageAnomaly, deployed_anomaly
from edgehaul_tools.train.anomaly.training import train_anomaly
from edgehaul_tools.train.run_directory import TrainingRun, read_run

RECIPE = AnomalyRecipe(
    width=32,
    height=32,
    channels=8,
    latent=8,
    normal_label="whole",
    false_alarms=0.1,
    optimizer=OptimizerSection(epochs=25, batch=16, learning_rate=8e-3, average_decay=0.9),
    augment=AugmentSection(scale=0.0, shift=0.02),
    threads=1,
)


def draw(random: np.random.Generator, *, cracked: bool) -> NDArray[np.uint8]:
    """Return a picture of a brown box on grey, with a black crack if it is damaged."""
    image = np.full((40, 40, 3), 150, np.uint8)
    x, y = random.integers(8, 13, 2)
    cv2.rectangle(image, (int(x), int(y)), (int(x) + 18, int(y) + 18), (60, 110, 170), -1)
    if cracked:
        start = (int(x) + int(random.integers(4, 9)), int(y) + 2)
        cv2.line(image, start, (start[0] + 4, start[1] + 12), (0, 0, 0), 3)
    noise = random.normal(0, 3, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def pictures(root: Path, seed: int, *, whole: int, cracked: int) -> DetectionDataset:
    random = np.random.default_rng(seed)
    for label, count in (("whole", whole), ("cracked", cracked)):
        (root / label).mkdir(parents=True)
        for number in range(count):
            image = draw(random, cracked=label == "cracked")
            cv2.imwrite(str(root / label / f"{number:03d}.png"), image)
    return read_image_folder(root)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[DetectionDataset, DetectionDataset]:
    root = tmp_path_factory.mktemp("pictures")
    return (
        pictures(root / "train", 0, whole=64, cracked=4),
        pictures(root / "val", 1, whole=30, cracked=15),
    )


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, parts: tuple[DetectionDataset, DetectionDataset]
) -> tuple[Path, TrainingRun]:
    out = tmp_path_factory.mktemp("run")
    return out, train_anomaly(RECIPE, *parts, out)


def test_it_tells_cracked_boxes_from_whole_ones(trained: tuple[Path, TrainingRun]) -> None:
    out, run = trained
    assert run.metrics["auroc"] >= 0.95
    assert run.metrics["recall"] >= 0.7
    assert run.metrics["false_alarm_rate"] <= RECIPE.false_alarms
    assert run.counts == {"train": 64, "val": 45}, "cracked ones are not learnt from"
    assert run.history[-1].loss < run.history[0].loss / 3
    assert run.spec.output.head == "anomaly"
    assert run.spec.output.score_threshold == pytest.approx(run.metrics["threshold"])
    assert read_run(out) == run


def test_the_map_shows_where(trained: tuple[Path, TrainingRun]) -> None:
    out, run = trained
    assert isinstance(run.spec.input, ImageInput)
    model = deployed_anomaly(out, run.spec, RECIPE)
    random = np.random.default_rng(9)
    whole = draw(random, cracked=False)
    marked = whole.copy()
    marked[20:26, 20:26] = (0, 0, 255)  # of 40 pixels, so cells 4 and 5 of 8
    prepare = Preprocessor(run.spec.input)
    with torch.no_grad():
        clean, clean_map = model(torch.from_numpy(prepare(whole)[0].copy()))
        score, error_map = model(torch.from_numpy(prepare(marked)[0].copy()))
    assert error_map.shape == (1, 8, 8)
    assert score > 2 * clean
    row, column = divmod(int((error_map - clean_map).argmax()), 8)
    assert {row, column} <= {4, 5}


def test_the_export_answers_alike(trained: tuple[Path, TrainingRun], tmp_path: Path) -> None:
    out, run = trained
    model = deployed_anomaly(out, run.spec, RECIPE)
    random = np.random.default_rng(0)
    batches = [random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in (1, 3)]
    path = tmp_path / "model.onnx"
    names = TensorNames(("image",), ("score", "error_map"))
    export_module(model, torch.from_numpy(batches[1]), names, path)
    assert max(measure_parity(model, path, batches).values()) <= 1e-4
    outputs = run_onnx(path, batches[0])
    assert anomaly_score(outputs, batches[0], run.spec) > run.spec.output.score_threshold


def test_the_score_is_that_of_the_worst_cells() -> None:
    black = np.zeros((1, 32, 32, 3), np.uint8)
    black[:, :4, :4] = 255  # one of 64 cells; the worst twentieth of them are three
    model = DeployedImageAnomaly(_Blackout())
    score, error_map = model(torch.from_numpy(black))
    assert float(score) == pytest.approx((1 / 3) ** 0.5)
    assert float(error_map.sum()) == pytest.approx(1.0)


class _Blackout(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 0


def test_unlabelled_pictures_are_all_normal(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), draw(random, cracked=False))
    dataset = read_image_folder(folder)
    optimizer = OptimizerSection(epochs=1, batch=4)
    recipe = AnomalyRecipe(width=32, height=32, channels=4, optimizer=optimizer, threads=1)
    run = train_anomaly(recipe, dataset, dataset, tmp_path / "run")
    assert "auroc" not in run.metrics
    assert run.metrics["false_alarm_rate"] <= recipe.false_alarms


@pytest.mark.parametrize(
    ("label", "train", "val", "fault"),
    [
        ("new", (2, 2), (2, 2), "no picture is labelled 'new'"),
        ("whole", (0, 2), (2, 2), "no picture is labelled 'whole'"),
        ("whole", (2, 2), (0, 2), "the validation part holds no picture labelled 'whole'"),
    ],
)
def test_parts_without_normal_pictures_are_refused(
    tmp_path: Path, label: str, train: tuple[int, int], val: tuple[int, int], fault: str
) -> None:
    given = [
        pictures(tmp_path / name, 0, whole=counts[0], cracked=counts[1])
        for name, counts in (("train", train), ("val", val))
    ]
    recipe = AnomalyRecipe(width=32, height=32, normal_label=label)
    with pytest.raises(DatasetError, match=fault):
        train_anomaly(recipe, given[0], given[1], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rate_that_is_far_too_high_is_told(
    tmp_path: Path, parts: tuple[DetectionDataset, DetectionDataset]
) -> None:
    optimizer = OptimizerSection(epochs=3, batch=4, learning_rate=1e30, gradient_norm=0.0)
    recipe = AnomalyRecipe(
        width=32, height=32, channels=4, optimizer=optimizer, threads=1, normal_label="whole"
    )
    with pytest.raises(ModelError, match="learning_rate"):
        train_anomaly(recipe, *parts, tmp_path / "run")
