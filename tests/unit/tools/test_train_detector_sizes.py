"""Detectors of all sizes, what they refuse to learn from, and what they share with the loop."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from edgehaul.bundle.spec import ModelSpec
from edgehaul.config.recipe import DetectorRecipe, DetectorSize
from edgehaul.config.recipe_sections import AugmentSection, OptimizerSection
from edgehaul.errors import DatasetError, ModelError
from edgehaul_tools.train.architectures.detector import (
    SIZES,
    STRIDES,
    DetectorHead,
    DetectorNetwork,
    cell_centers,
    shape_of,
)
from edgehaul_tools.train.detector.loss import summed_loss
from edgehaul_tools.train.detector.task import DetectorTask
from edgehaul_tools.train.detector.training import detector_spec, fit_detector
from edgehaul_tools.train.pictures.canvases import CanvasSet

LABELS = ("dark", "bright")
RECIPE = DetectorRecipe(
    width=64,
    height=48,
    channels=(4, 8, 8, 8),
    optimizer=OptimizerSection(epochs=2, batch=4),
    augment=AugmentSection(scale=0.05, shift=0.02, mosaic=0.3),
    threads=1,
)
SPEC = detector_spec(RECIPE, LABELS)


def canvases(count: int = 8) -> CanvasSet:
    """Return canvases with one bright or dark rectangle each."""
    random = np.random.default_rng(5)
    images = random.integers(90, 130, (count, 48, 64, 3), dtype=np.uint8)
    boxes = []
    for number in range(count):
        x, y = random.integers(0, 34), random.integers(0, 24)
        images[number, y : y + 20, x : x + 28] = 230 if number % 2 else 20
        boxes.append(np.array([[x, y, x + 28, y + 20]], dtype=np.float32))
    classes = tuple(np.array([number % 2], dtype=np.int64) for number in range(count))
    names = tuple(f"{number}.png" for number in range(count))
    return CanvasSet(images, tuple(boxes), classes, names=names)


def test_fine_and_coarse_features_are_normed_apart() -> None:
    torch.manual_seed(0)
    head = DetectorHead(8, 2, two_towers=True)
    fine, coarse = torch.randn(4, 8, 12, 16), 5 + 3 * torch.randn(4, 8, 6, 8)
    for _ in range(60):  # the running figures settle
        learnt = [head(fine, 0), head(coarse, 1)]
    head.eval()
    for in_training, afterwards in zip(learnt, [head(fine, 0), head(coarse, 1)], strict=True):
        for before, after in zip(in_training, afterwards, strict=True):
            torch.testing.assert_close(after, before, rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("size", "most"), [("nano", 0.5e6), ("small", 1.5e6), ("medium", 5.5e6)])
def test_every_size_answers_for_every_cell(size: DetectorSize, most: float) -> None:
    recipe = DetectorRecipe(size=size, width=64, height=48)
    network = DetectorNetwork(shape_of(recipe, 3)).eval()
    logits, distances = network(torch.rand(2, 3, 48, 64))
    cells = len(cell_centers(64, 48))
    assert logits.shape == (2, cells, 3)
    assert distances.shape == (2, cells, 4)
    assert bool((distances >= 0).all())
    assert most / 3 < sum(p.numel() for p in network.parameters()) <= most


def test_layers_are_those_that_quantize_well() -> None:
    for size in SIZES:
        network = DetectorNetwork(shape_of(DetectorRecipe(size=size), 3))
        kinds = {type(m) for m in network.modules() if not [*m.children()]}
        assert kinds == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU}


def changed(**values: object) -> CanvasSet:
    whole = canvases()
    return CanvasSet(
        **{name: getattr(whole, name) for name in whole.__dataclass_fields__} | values  # type: ignore[arg-type]  # as told
    )


BOX = np.array([[1, 2, 30, 40]], dtype=np.float32)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (changed(classes=(np.array([2]),) * 8), r"0\.png.*class 2, and there are 2 labels"),
        (changed(classes=(np.array([-5]),) * 8), "no labelled object"),
        (changed(boxes=(BOX * np.nan,) * 8), "no number"),
        (
            changed(boxes=(BOX[:0],) * 8, classes=(np.zeros(0, dtype=np.int64),) * 8, too_small=7),
            "larger than a pixel on the canvas of 64x48 pixels; 7 are smaller",
        ),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(part: CanvasSet, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        fit_detector(RECIPE, SPEC, part, canvases(2))


def test_a_wrong_class_in_the_validation_part_is_found_before_the_training() -> None:
    wrong = changed(classes=(np.array([7]),) * 8, names=())
    with pytest.raises(DatasetError, match="validation part"):
        fit_detector(RECIPE, SPEC, canvases(), wrong)


def test_a_training_that_diverges_names_the_pictures(tmp_path: Path) -> None:
    optimizer = OptimizerSection(epochs=3, batch=8, learning_rate=1e30, gradient_norm=0)
    recipe = msgspec.structs.replace(RECIPE, optimizer=optimizer)
    with pytest.raises(ModelError, match=r"samples .*\d\.png"):
        fit_detector(recipe, SPEC, canvases(), canvases(0), folder=tmp_path)


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = fit_detector(RECIPE, SPEC, canvases(), canvases(2))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_detector(RECIPE, SPEC, canvases(), canvases(2), stop, folder=tmp_path)
    reports: list[object] = []
    again = fit_detector(
        RECIPE, SPEC, canvases(), canvases(2), reports.append, folder=tmp_path, resume=True
    )
    assert reports
    theirs = again.network.state_dict()
    assert all(torch.equal(v, theirs[n]) for n, v in whole.network.state_dict().items())


def task(part: CanvasSet, spec: ModelSpec = SPEC) -> DetectorTask:
    torch.manual_seed(0)
    network = DetectorNetwork(shape_of(RECIPE, len(LABELS))).eval()
    return DetectorTask(network, RECIPE, spec, part, part)


def test_every_epoch_holds_every_picture_in_another_order() -> None:
    its = task(canvases())
    orders = [its.order(epoch).tolist() for epoch in (1, 2, 1)]
    assert orders[0] == orders[2] != orders[1]
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_parts_of_a_batch_weigh_by_their_objects_as_the_whole_does() -> None:
    """What several processes do: sums over all of them, divided once."""
    its = task(canvases())
    network = its.network
    numbers = np.arange(8)

    def summed(chosen: np.ndarray) -> tuple[float, float]:
        batch = its.batch(chosen, 1)
        with torch.no_grad():
            logits, distances = network(batch.images)
        centers = cell_centers(64, 48)
        total, weight = summed_loss(logits, distances, centers, batch.boxes, batch.classes)
        return float(total), float(weight)

    halves = [summed(numbers[:4]), summed(numbers[4:])]
    total, weight = (sum(values) for values in zip(*halves, strict=True))
    with torch.no_grad():
        whole = float(its.loss(network, its.batch(numbers, 1)))
    assert total / max(weight, 1.0) == pytest.approx(whole, rel=1e-4)


def test_a_network_that_answers_nothing_has_a_figure_of_zero() -> None:
    figures = task(canvases(4)).evaluate(task(canvases(4)).network)
    assert figures["mAP50"] == pytest.approx(0.0, abs=0.05)
    assert task(canvases(0)).evaluate(task(canvases(0)).network) == {}


def test_cells_of_both_strides_cover_the_canvas() -> None:
    centers = cell_centers(64, 48).numpy()
    assert len(centers) == sum((64 // s) * (48 // s) for s in STRIDES)
    assert centers.min() == STRIDES[0] / 2
