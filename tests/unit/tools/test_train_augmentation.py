"""Pictures and their boxes are varied together."""

import numpy as np
import pytest
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.pictures.augmentation import Augmenter, Batch
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet

NOTHING = AugmentSection(
    flip=0, flip_vertical=0, brightness=0, contrast=0, color=0, scale=0, shift=0
)
BOX = (10, 20, 40, 44)


def canvases(box: tuple[int, int, int, int] = BOX) -> CanvasSet:
    """Return one dark canvas with one bright rectangle."""
    image = np.zeros((1, 64, 96, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    image[0, y1:y2, x1:x2] = 250
    boxes = np.array([box], dtype=np.float32)
    return CanvasSet(image, (boxes,), (np.array([2]),), pad_value=0)


def bright_box(pixels: NDArray[np.float32]) -> list[int]:
    rows, columns = np.nonzero(pixels[0].mean(axis=0) > 0.5)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def batch(section: AugmentSection | None, data: CanvasSet, seed: int = 0) -> Batch:
    return Augmenter(section, np.random.default_rng(seed)).batch(data, np.array([0]))


def test_without_a_section_a_batch_is_the_canvas() -> None:
    result = batch(None, canvases())
    assert result.images.shape == (1, 3, 64, 96)
    assert float(result.images.max()) == pytest.approx(250 / 255)
    assert result.boxes[0, 0].tolist() == list(BOX)
    assert result.classes.tolist() == [[2]]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (AugmentSection(flip=1, brightness=0, contrast=0, color=0, scale=0, shift=0),
         (56, 20, 86, 44)),
        (AugmentSection(flip=0, flip_vertical=1, brightness=0, contrast=0, color=0, scale=0,
                        shift=0), (10, 20, 40, 44)),
        (NOTHING, BOX),
    ],
)  # fmt: skip
def test_a_mirror_moves_picture_and_box_to_the_same_place(
    section: AugmentSection | None, expected: tuple[int, int, int, int]
) -> None:
    result = batch(section, canvases())
    assert result.boxes[0, 0].tolist() == list(expected)
    assert bright_box(result.images.numpy()) == list(expected)


@pytest.mark.parametrize("seed", range(6))
def test_scaling_and_shifting_keep_box_and_picture_together(seed: int) -> None:
    section = AugmentSection(flip=0.5, scale=0.3, shift=0.1)
    result = batch(section, canvases((30, 20, 60, 44)), seed)
    found = bright_box(result.images.numpy())
    assert np.abs(result.boxes[0, 0].numpy() - found).max() <= 1.01


def test_an_object_pushed_off_the_canvas_is_ignored_and_not_background() -> None:
    section = AugmentSection(flip=0, brightness=0, contrast=0, color=0, scale=0, shift=0.5)
    classes = {
        int(batch(section, canvases((0, 0, 20, 20)), seed).classes[0, 0]) for seed in range(12)
    }
    assert classes == {2, IGNORED}


def test_light_varies_and_stays_in_range() -> None:
    section = AugmentSection(flip=0, brightness=0.5, contrast=0.5, color=0.2, scale=0, shift=0)
    results = [batch(section, canvases(), seed).images for seed in range(4)]
    assert all(float(v.min()) >= 0 and float(v.max()) <= 1 for v in results)
    assert len({float(v.mean()) for v in results}) == 4


def test_counts_of_objects_are_padded() -> None:
    data = canvases()
    empty = np.zeros((0, 4), dtype=np.float32)
    both = CanvasSet(
        np.repeat(data.images, 2, axis=0),
        (data.boxes[0], empty),
        (data.classes[0], np.zeros(0, dtype=np.int64)),
    )
    augmenter = Augmenter(AugmentSection(), np.random.default_rng(0))
    result = augmenter.batch(both, np.array([0, 1]))
    assert result.classes.shape == (2, 1)
    assert int(result.classes[1, 0]) == -1
