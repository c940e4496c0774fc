"""Pictures and their boxes are varied together, and the same in any thread."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgehaul.config.recipe_sections import AugmentSection
from edgehaul_tools.train.pictures.augmentation import Augmenter, Batch, degraded
from edgehaul_tools.train.pictures.canvases import IGNORED, CanvasSet
from edgehaul_tools.train.pictures.cut_out import random_cut_out
from edgehaul_tools.train.pictures.degradations import line_kernel
from edgehaul_tools.train.pictures.geometry import (
    LEAST_VISIBLE,
    Picture,
    random_warp,
    warp_image,
    warp_objects,
)

STILL = AugmentSection(flip=0, scale=0, shift=0, brightness=0, contrast=0, color=0)
EVERYTHING = AugmentSection(
    flip=0.5, flip_vertical=0.5, scale=0.3, shift=0.1, rotate_deg=20, shear_deg=8,
    perspective=0.3, mosaic=0.5, brightness=0.3, contrast=0.3, color=0.1, blur=0.5, noise=0.5,
    jpeg=0.5, weather=0.5, low_light=0.5, cut_out=0.5,
)  # fmt: skip
BOX = (10, 20, 40, 44)
WIDTH, HEIGHT = 96, 64
FRAME = (0.0, 0.0, float(WIDTH), float(HEIGHT))


def canvases(box: tuple[int, int, int, int] = BOX, count: int = 1) -> CanvasSet:
    """Return dark canvases with one bright rectangle each."""
    images = np.zeros((count, HEIGHT, WIDTH, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    images[:, y1:y2, x1:x2] = 250
    boxes = np.array([box], dtype=np.float32)
    return CanvasSet(images, (boxes,) * count, (np.array([2]),) * count, pad_value=0)


def bright_box(pixels: NDArray[np.float32]) -> list[int]:
    rows, columns = np.nonzero(pixels[0].mean(axis=0) > 0.5)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def batch(section: AugmentSection | None, data: CanvasSet, seed: int = 0) -> Batch:
    return Augmenter(section, seed).batch(data, np.array([0]), epoch=1)


def with_(**values: float) -> AugmentSection:
    return msgspec.structs.replace(STILL, **values)


def test_without_a_section_a_batch_is_the_canvas() -> None:
    result = batch(None, canvases())
    assert result.images.shape == (1, 3, HEIGHT, WIDTH)
    assert float(result.images.max()) == pytest.approx(250 / 255)
    assert result.boxes[0, 0].tolist() == list(BOX)
    assert result.classes.tolist() == [[2]]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (with_(flip=1), (56, 20, 86, 44)),
        (with_(flip_vertical=1), (10, 20, 40, 44)),
        (with_(flip=1, flip_vertical=1), (56, 20, 86, 44)),
        (STILL, BOX),
    ],
)
def test_a_mirror_moves_picture_and_box_to_the_same_place(
    section: AugmentSection, expected: tuple[int, int, int, int]
) -> None:
    result = batch(section, canvases())
    assert result.boxes[0, 0].tolist() == list(expected)
    assert bright_box(result.images.numpy()) == list(expected)


@st.composite
def moved(draw: st.DrawFn) -> tuple[AugmentSection, tuple[int, int, int, int], int]:
    x1, y1 = draw(st.integers(0, WIDTH - 12)), draw(st.integers(0, HEIGHT - 12))
    x2, y2 = draw(st.integers(x1 + 10, WIDTH)), draw(st.integers(y1 + 10, HEIGHT))
    section = with_(
        flip=draw(st.floats(0, 1)),
        flip_vertical=draw(st.floats(0, 1)),
        scale=draw(st.floats(0, 0.5)),
        shift=draw(st.floats(0, 0.4)),
        rotate_deg=draw(st.sampled_from([0.0, 10.0, 180.0])),
        shear_deg=draw(st.sampled_from([0.0, 15.0])),
        perspective=draw(st.sampled_from([0.0, 0.3, 0.7])),
    )
    return section, (x1, y1, x2, y2), draw(st.integers(0, 1000))


@settings(max_examples=150, deadline=None)
@given(moved())
def test_the_box_encloses_the_object_s_pixels_whatever_the_warp(
    case: tuple[AugmentSection, tuple[int, int, int, int], int],
) -> None:
    section, box, seed = case
    data = canvases(box)
    matrix = random_warp(section, WIDTH, HEIGHT, np.random.default_rng(seed))
    image = warp_image(data.images[0], matrix, WIDTH, HEIGHT, 0)
    boxes, classes = warp_objects(data.boxes[0], data.classes[0], matrix, FRAME)
    rows, columns = np.nonzero(image[:, :, 0] > 124)
    if not len(boxes):
        assert min(len(set(columns.tolist())), len(set(rows.tolist()))) <= 2
        return
    if len(rows) == 0:  # a sliver between the middles of the pixels
        assert classes[0] == IGNORED
        return
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    outside = np.concatenate((boxes[0, :2] - seen[:2], seen[2:] - boxes[0, 2:]))
    assert outside.max() <= 1.0, "pixels outside the box"
    upright = not (section.rotate_deg or section.shear_deg or section.perspective)
    if upright:
        assert np.abs(boxes[0] - seen).max() <= 1.0, "the box is loose"


@settings(max_examples=60, deadline=None)
@given(moved())
def test_a_turned_object_is_enclosed_by_the_box_of_its_warped_outline(
    case: tuple[AugmentSection, tuple[int, int, int, int], int],
) -> None:
    """Found by brute force: many points of the object, warped, and those in the frame kept."""
    section, box, seed = case
    matrix = random_warp(section, WIDTH, HEIGHT, np.random.default_rng(seed))
    x, y = np.meshgrid(np.linspace(box[0], box[2], 160), np.linspace(box[1], box[3], 160))
    points = np.stack((x.ravel(), y.ravel()), axis=1)[None]
    warped = cv2.perspectiveTransform(points, matrix)[0]
    shown = warped[((warped >= 0) & (warped <= (WIDTH, HEIGHT))).all(axis=1)]
    array = np.array([box], dtype=np.float32)
    boxes, _ = warp_objects(array, np.array([0]), matrix, FRAME)
    if len(boxes) and len(shown):
        around = np.concatenate((shown.min(axis=0), shown.max(axis=0)))
        assert np.abs(boxes[0] - around).max() <= 2.0


def test_an_object_pushed_off_the_canvas_is_ignored_or_gone_and_not_background() -> None:
    found = []
    for seed in range(30):
        classes = batch(with_(shift=0.5), canvases((0, 0, 20, 20)), seed).classes[0].tolist()
        found.append(classes[0] if classes else None)
    assert set(found) == {2, IGNORED, None}


@pytest.mark.parametrize(("shift", "expected"), [(0.25, 2), (0.35, IGNORED)])
def test_seven_tenths_must_be_left(shift: float, expected: int) -> None:
    matrix = np.eye(3)
    matrix[0, 2] = -shift * 20
    box = np.array([[0, 0, 20, 20]], dtype=np.float32)
    boxes, classes = warp_objects(box, np.array([2]), matrix, FRAME)
    assert classes.tolist() == [expected]
    assert boxes[0].tolist() == pytest.approx([0, 0, 20 - shift * 20, 20])


def test_light_varies_and_stays_in_range() -> None:
    section = with_(brightness=0.5, contrast=0.5, color=0.2)
    results = [batch(section, canvases(), seed).images for seed in range(4)]
    assert all(float(v.min()) >= 0 and float(v.max()) <= 1 for v in results)
    assert len({float(v.mean()) for v in results}) == 4


@pytest.mark.parametrize("kind", ["blur", "noise", "jpeg", "weather", "low_light"])
def test_each_degradation_changes_the_picture_and_not_its_form(kind: str) -> None:
    image = np.random.default_rng(3).integers(60, 200, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    before = image.copy()
    for seed in range(6):
        result = degraded(image, with_(**{kind: 1.0}), np.random.default_rng(seed))
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert not np.array_equal(result, image)
    assert np.array_equal(image, before), "the canvas itself was changed"
    if kind == "low_light":
        assert result.mean() < 0.7 * image.mean()
    if kind == "blur":
        assert result.std() < image.std()


@pytest.mark.parametrize("length", [3, 6, 9])
@pytest.mark.parametrize("angle", [0.0, 0.8, 1.57])
def test_a_moved_picture_is_as_bright_as_before(length: int, angle: float) -> None:
    kernel = line_kernel(length, angle)
    assert float(kernel.sum()) == pytest.approx(1.0)
    assert int((kernel > 0).sum()) >= 2


def test_an_object_that_is_covered_is_ignored() -> None:
    boxes = np.array([[x, y, x + 6, y + 6] for x in range(0, 90, 6) for y in range(0, 58, 6)])
    plain = np.full((HEIGHT, WIDTH, 3), 100, dtype=np.uint8)
    picture = Picture(plain, boxes.astype(np.float32), np.zeros(len(boxes), dtype=np.int64))
    result = random_cut_out(picture, np.random.default_rng(1))
    covered = (result.image != 100).any(axis=2)
    left = np.array([1 - covered[y1:y2, x1:x2].mean() for x1, y1, x2, y2 in boxes])
    assert (result.classes[left < LEAST_VISIBLE - 0.01] == IGNORED).all()
    assert (result.classes[left == 1] == 0).all()
    assert set(result.classes.tolist()) == {0, IGNORED}
    assert (picture.image == 100).all()


def test_a_mosaic_holds_its_objects_where_they_are_seen() -> None:
    data = canvases((8, 8, 88, 56), count=5)
    for seed in range(20):
        picture = Augmenter(with_(mosaic=1.0), seed).picture(data, 0, 1)
        seen = picture.image[:, :, 0] > 124
        told = np.zeros_like(seen)
        assert len(picture.boxes) >= 3
        for x1, y1, x2, y2 in np.rint(picture.boxes).astype(int):
            told[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = True
        assert not (seen & ~told).any()
    single = Augmenter(with_(mosaic=1.0), 0, mosaic=False).picture(data, 0, 1)
    assert np.array_equal(single.image, data.images[0])


def test_a_batch_is_the_same_whatever_was_made_before_and_in_whatever_thread() -> None:
    data = canvases(count=6)
    augmenter = Augmenter(EVERYTHING, 7)
    numbers = [np.array([n, (n + 1) % 6]) for n in range(6)]
    alone = [Augmenter(EVERYTHING, 7).batch(data, pair, 3) for pair in reversed(numbers)][::-1]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda pair: augmenter.batch(data, pair, 3), numbers))
    for one, other in zip(alone, threaded, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.boxes, other.boxes)
        assert torch.equal(one.classes, other.classes)
    next_epoch = augmenter.batch(data, numbers[0], 4)
    assert not torch.equal(next_epoch.images, alone[0].images)


def test_counts_of_objects_are_padded() -> None:
    data = canvases()
    empty = np.zeros((0, 4), dtype=np.float32)
    both = CanvasSet(
        np.repeat(np.asarray(data.images), 2, axis=0),
        (data.boxes[0], empty),
        (data.classes[0], np.zeros(0, dtype=np.int64)),
    )
    result = Augmenter(AugmentSection(), 0).batch(both, np.array([0, 1]), 1)
    assert result.classes.shape == (2, 1)
    assert int(result.classes[1, 0]) == -1
