"""The training of a classifier of whole pictures."""

import dataclasses
import logging
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import ClassifierRecipe
from edgehaul.config.recipe_sections import AugmentSection, ClassLossSection, OptimizerSection
from edgehaul.errors import DatasetError, ModelError
from edgehaul.geometry import Box
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.image_folder import read_image_folder
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.train.architectures.table import build_classifier
from edgehaul_tools.train.classifier.deployed import DeployedClassifier, deployed_classifier
from edgehaul_tools.train.classifier.task import ClassifiedSet, ClassifierTask, classified_metrics
from edgehaul_tools.train.classifier.training import (
    checked_classes,
    classifier_input,
    train_classifier,
)
from edgehaul_tools.train.pictures.canvases import CanvasSet, load_canvases
from edgehaul_tools.train.run_directory import read_run

RECIPE = ClassifierRecipe(
    network="resnet18",
    width=32,
    height=32,
    threads=1,
    augment=AugmentSection(flip=0, scale=0, shift=0, brightness=0.1, contrast=0.1, color=0),
    optimizer=OptimizerSection(epochs=4, batch=8, learning_rate=2e-3, average_decay=0.9),
)


def write_pictures(root: Path, counts: dict[str, int], seed: int = 0) -> DetectionDataset:
    """Write pictures of bright and dark, red and blue ..., one folder for each colour."""
    random = np.random.default_rng(seed)
    colors = {"red": (20, 20, 200), "blue": (200, 20, 20), "green": (20, 200, 20)}
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            noise = random.integers(0, 40, (24, 24, 3))
            picture = np.clip(np.array(colors[name]) + noise, 0, 255).astype(np.uint8)
            cv2.imwrite(str(root / name / f"{number}.png"), picture)
    return read_image_folder(root)


def nothing(dataset: DetectionDataset) -> DetectionDataset:
    return dataset.subset(())


def test_a_classifier_learns_colours_and_answers_the_same_as_the_box(tmp_path: Path) -> None:
    train = write_pictures(tmp_path / "train", {"red": 12, "blue": 12})
    val = write_pictures(tmp_path / "val", {"red": 4, "blue": 4}, seed=1)
    run = train_classifier(RECIPE, train, val, tmp_path / "run")
    assert run.metrics["accuracy"] == run.metrics["macro_f1"] == 1.0
    assert run == read_run(tmp_path / "run")
    assert run.spec.output.head == "classify"
    assert run.spec.output.labels == ("blue", "red")
    assert run.environment["torch"] == torch.__version__
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    module = deployed_classifier(tmp_path / "run", run.spec, run.recipe.classifier)
    assert isinstance(run.spec.input, ImageInput)
    picture = cv2.imread(str(tmp_path / "val" / "red" / "0.png"))
    tensor, _ = Preprocessor(run.spec.input)(np.asarray(picture, dtype=np.uint8))
    with torch.no_grad():
        scores = module(torch.from_numpy(tensor))
    assert scores.shape == (1, 2)
    assert scores.argmax().item() == 1
    assert float(scores.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_box_sees_what_was_learnt_from(tmp_path: Path, color: str) -> None:
    dataset = write_pictures(tmp_path, {"red": 2, "blue": 2})
    still = AugmentSection(flip=0, scale=0, shift=0, brightness=0, contrast=0, color=0)
    plain = msgspec.structs.replace(RECIPE, color=color, augment=still)
    canvases = load_canvases(dataset, classifier_input(plain))
    part = ClassifiedSet(canvases, checked_classes(dataset, dataset.labels))
    network = build_classifier("resnet18", 2, width=32, height=32).eval()
    task = ClassifierTask(network, plain, dataset.labels, part, part)
    batch = task.batch(np.arange(4), 1)
    assert batch.classes.tolist() == [0, 0, 1, 1]
    deployed = DeployedClassifier(network, color).eval()
    bytes_in = torch.from_numpy(np.stack([canvases.images[n] for n in range(4)]))
    expected = torch.softmax(network(batch.images), dim=-1)
    assert torch.allclose(deployed(bytes_in), expected, atol=1e-5)
    assert len(set(expected[:, 0].tolist())) == 4
    # Blue pictures first: the third channel of RGB is the bright one, whatever the canvas holds.
    assert int(batch.images[0].mean(dim=(1, 2)).argmax()) == 2


def test_rare_classes_are_drawn_as_often_as_the_others() -> None:
    canvases = CanvasSet(np.zeros((100, 8, 8, 3), np.uint8), (), ())
    classes = np.array([0] * 95 + [1] * 5)
    part = ClassifiedSet(canvases, classes)
    network = torch.nn.Linear(1, 1)
    for balance, least, most in (("draw", 30, 70), ("none", 5, 5)):
        recipe = msgspec.structs.replace(RECIPE, loss=ClassLossSection(balance=balance))
        task = ClassifierTask(network, recipe, ("a", "b"), part, part)
        rare = int((classes[task.order(1)] == 1).sum())
        assert least <= rare <= most
        assert task.order(1).tolist() == task.order(1).tolist() != task.order(2).tolist()


def test_figures_of_a_classifier() -> None:
    answers, classes = np.array([0, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1])
    found = classified_metrics(answers, classes, ("a", "b", "absent"))
    assert found["accuracy"] == 3 / 5
    assert found["f1_a"] == pytest.approx(2 * 2 / (3 + 3))
    assert found["f1_b"] == pytest.approx(2 * 1 / (2 + 2))
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert "f1_absent" not in found


def test_what_nothing_can_be_learnt_from_is_refused(tmp_path: Path) -> None:
    two = write_pictures(tmp_path / "two", {"red": 6, "blue": 6})
    one = two.subset(s for s in two.samples if s.class_id == 1)
    none = nothing(two)
    for dataset, expected in (
        (none, "no picture"),
        (one, "all pictures of the training part show 'red'"),
        (dataclasses.replace(two, labels=("blue", "red", "green")), "shows green"),
        (dataclasses.replace(two, labels=("blue",)), r"6 pictures have a class outside 0\.\.0"),
    ):
        with pytest.raises(DatasetError, match=expected) as caught:
            train_classifier(RECIPE, dataset, none, tmp_path / "run")
        assert caught.value.remedy
    few = msgspec.structs.replace(RECIPE.optimizer, batch=13)
    recipe = msgspec.structs.replace(RECIPE, optimizer=few)
    with pytest.raises(DatasetError, match=r"12 pictures are fewer than a batch of 13.*to 12 or"):
        train_classifier(recipe, two, none, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pictures_in_which_objects_are_marked_are_no_classes(tmp_path: Path) -> None:
    marks = (TrueBox(Box(2, 2, 9, 9), 0), TrueBox(Box(12, 2, 19, 9), 1))
    sample = Sample(tmp_path / "belt.png", "", 24, 24, marks)
    dataset = DetectionDataset(tmp_path, ("a", "b"), (sample,))
    with pytest.raises(DatasetError, match=r"belt\.png.*train a detector"):
        train_classifier(RECIPE, dataset, nothing(dataset), tmp_path / "run")


def test_published_weights_of_other_classes_are_taken_but_for_the_last_layer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = write_pictures(tmp_path / "train", {"red": 4, "blue": 4})
    torch.manual_seed(0)
    published = build_classifier("resnet18", 10, width=32, height=32)
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    still = OptimizerSection(epochs=1, batch=8, learning_rate=1e-12)
    recipe = msgspec.structs.replace(RECIPE, weights=str(tmp_path / "weights.pth"), optimizer=still)
    with caplog.at_level(logging.WARNING):
        train_classifier(recipe, train, nothing(train), tmp_path / "run")
    assert "left out" in caplog.text
    kept = torch.load(tmp_path / "run" / "weights.pt", weights_only=True)
    name = "layer1.0.conv1.weight"
    assert torch.allclose(kept[name], published.state_dict()[name], atol=1e-6)
    assert kept["fc.weight"].shape == (2, 512)
    other = msgspec.structs.replace(recipe, network="mobilenet_v2")
    with pytest.raises(ModelError, match="another network"):
        train_classifier(other, train, nothing(train), tmp_path / "other")
