"""Pictures become tensors, and boxes come back from the canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DataError
from edgehaul.geometry import Box
from edgehaul.vision.preprocess import Canvas, Preprocessor, TensorBuffer

MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
RESIZES = ("letterbox", "stretch", "crop")
_Test = TypeVar("_Test", bound=Callable[..., None])


def picture(width: int, height: int, channels: int = 3) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(width * 7 + height).integers(0, 256, shape, dtype=np.uint8)


def sized(width: int, height: int, channels: int, resize: str) -> Callable[[_Test], _Test]:
    return example(
        size=(width, height),
        channels=channels,
        canvas=(64, 48),
        resize=resize,
        anchor="center",
        corners=(0.0, 0.1, 0.7, 1.0),
    )


@sized(3, 5, 3, "letterbox")
@sized(3, 5, 1, "stretch")
@sized(1, 1, 1, "letterbox")
@sized(1, 4000, 3, "letterbox")
@sized(720, 1280, 1, "letterbox")
@sized(720, 1280, 4, "stretch")
@sized(1919, 1079, 3, "letterbox")
@sized(333, 777, 1, "crop")
@given(
    size=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    channels=st.sampled_from([1, 3, 4]),
    canvas=st.tuples(st.integers(16, 700), st.integers(16, 700)),
    resize=st.sampled_from(RESIZES),
    anchor=st.sampled_from(["center", "top-left"]),
    corners=st.tuples(*[st.floats(0, 1, width=32)] * 4),
)
def test_a_box_survives_the_way_to_the_canvas_and_back(
    size: tuple[int, int],
    channels: int,
    canvas: tuple[int, int],
    resize: str,
    anchor: str,
    corners: tuple[float, ...],
) -> None:
    spec = ImageInput(*canvas, resize=resize, anchor=anchor)
    width, height = size
    # A view of one byte: the placement depends on the picture's size alone.
    shape = (height, width) if channels == 1 else (height, width, channels)
    image = np.broadcast_to(np.zeros((1,) * len(shape), dtype=np.uint8), shape)
    _, placement = Preprocessor(spec)(image)
    x1, x2 = sorted((corners[0] * width, corners[2] * width))
    y1, y2 = sorted((corners[1] * height, corners[3] * height))
    boxes = np.array([[x1, y1, x2, y2]], dtype=np.float32)
    back = placement.boxes_to_original(placement.boxes_to_canvas(boxes))
    assert np.abs(back - boxes).max() <= 1.0
    one = placement.box_to_canvas(Box(x1, y1, x2, y2))
    assert np.allclose([one.x1, one.y1, one.x2, one.y2], placement.boxes_to_canvas(boxes), atol=0.1)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("anchor", ["center", "top-left"])
@pytest.mark.parametrize("size", [(640, 360), (360, 640), (101, 97), (64, 48), (900, 60)])
def test_the_placement_says_where_the_pixels_went(
    resize: str, anchor: str, size: tuple[int, int]
) -> None:
    width, height = size
    image = np.full((height, width, 3), 20, dtype=np.uint8)
    x1, y1, x2, y2 = width * 3 // 8, height * 3 // 8, width * 5 // 8, height * 5 // 8
    image[y1:y2, x1:x2] = 250
    spec = ImageInput(128, 96, resize=resize, anchor=anchor, pad_value=20)
    tensor, placement = Preprocessor(spec)(image)
    bright = np.argwhere(tensor[0, :, :, 0] > 135)
    found = np.array([bright[:, 1].min(), bright[:, 0].min(), *(bright.max(axis=0) + 1)[::-1]])
    expected = placement.boxes_to_canvas(np.array([[x1, y1, x2, y2]], dtype=np.float32))[0]
    canvas_limit = np.array([128, 96, 128, 96])
    assert np.abs(found - np.clip(expected, 0, canvas_limit)).max() <= 1.0


@pytest.mark.parametrize(
    ("resize", "anchor", "size"),
    [
        ("letterbox", "center", (72, 96)),
        ("letterbox", "top-left", (72, 96)),
        ("stretch", "center", (96, 96)),
        ("crop", "center", (96, 96)),
    ],
)
def test_the_picture_on_the_canvas_is_what_lies_between_the_padding(
    resize: str, anchor: str, size: tuple[int, int]
) -> None:
    canvas = Canvas(ImageInput(96, 96, resize=resize, anchor=anchor, pad_value=7))
    for level in (50, 90):  # also when the canvas is used again
        canvas.place(np.full((480, 640, 3), level, np.uint8))
        assert canvas.picture.shape[:2] == size
        assert np.all(canvas.picture == level)
        assert np.count_nonzero(canvas.pixels == level) == canvas.picture.size


def test_letterbox_pads_evenly_with_the_pad_value() -> None:
    image = np.full((10, 40, 3), 200, dtype=np.uint8)
    tensor, _ = Preprocessor(ImageInput(80, 80, pad_value=7))(image)
    assert tensor.shape == (1, 80, 80, 3)
    assert (tensor[0, :30] == 7).all()
    assert (tensor[0, 30:50] == 200).all()
    assert (tensor[0, 50:] == 7).all()


def test_the_padding_is_renewed_when_the_size_changes() -> None:
    preprocess = Preprocessor(ImageInput(64, 64, pad_value=114))
    preprocess(np.full((64, 32, 3), 255, dtype=np.uint8))
    tensor, _ = preprocess(np.full((32, 64, 3), 255, dtype=np.uint8))
    assert (tensor[0, :16] == 114).all()
    assert (tensor[0, 48:] == 114).all()


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("color", ["bgr", "rgb", "gray"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_form_of_tensor_equals_its_definition(
    layout: str, color: str, dtype: str, channels: int
) -> None:
    image = picture(32, 24, channels)
    count = 1 if color == "gray" else 3
    normalised = dtype == "float32"
    spec = ImageInput(
        32,
        24,
        color=color,
        layout=layout,
        dtype=dtype,
        scale=0.5 if normalised else 1.0,
        mean=MEAN[:count] if normalised else (),
        std=STD[:count] if normalised else (),
    )
    tensor, _ = Preprocessor(spec)(image)
    bgr = image if channels == 3 else cv2.cvtColor(image, {1: 8, 4: 1}[channels])
    ordered = {
        "bgr": bgr,
        "rgb": bgr[..., ::-1],
        "gray": (image if channels == 1 else cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)).reshape(
            24, 32, 1
        ),
    }[color]
    expected = ordered.astype(np.float64)
    if normalised:
        expected = (expected * 0.5 - np.array(MEAN[:count])) / np.array(STD[:count])
    expected = expected[None] if layout == "nhwc" else expected.transpose(2, 0, 1)[None]
    assert tensor.shape == spec.tensor_shape
    assert tensor.dtype == dtype
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor, expected, atol=1e-5)


def test_a_resized_picture_equals_opencv_and_swaps_colours() -> None:
    image = picture(640, 480)
    spec = ImageInput(320, 320, resize="stretch", color="rgb")
    tensor, _ = Preprocessor(spec)(image)
    assert np.array_equal(tensor[0], cv2.resize(image, (320, 320))[..., ::-1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
def test_the_tensor_is_the_same_memory_at_each_call(dtype: str, layout: str) -> None:
    preprocess = Preprocessor(ImageInput(64, 64, dtype=dtype, layout=layout))
    first, _ = preprocess(picture(100, 80))
    kept = first.copy()
    second, _ = preprocess(picture(90, 100))
    assert np.shares_memory(first, second)
    assert not np.array_equal(kept, second)
    again, _ = preprocess(picture(100, 80))
    assert np.array_equal(again, kept)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2), (4096, 17)])
@pytest.mark.parametrize("resize", RESIZES)
def test_odd_sizes_pass(size: tuple[int, int], resize: str) -> None:
    tensor, placement = Preprocessor(ImageInput(48, 32, resize=resize))(picture(*size))
    assert tensor.shape == (1, 32, 48, 3)
    assert (placement.width, placement.height) == size


def test_a_mirrored_view_passes() -> None:
    image = picture(50, 40)
    spec = ImageInput(32, 32, resize="stretch", color="bgr")
    tensor, _ = Preprocessor(spec)(image[:, ::-1])
    assert np.array_equal(tensor[0], cv2.resize(np.ascontiguousarray(image[:, ::-1]), (32, 32)))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), dtype=np.float32),
        np.zeros((4, 4, 2), dtype=np.uint8),
        np.zeros((4,), dtype=np.uint8),
        np.zeros((0, 4, 3), dtype=np.uint8),
        np.zeros((1, 4, 4, 3), dtype=np.uint8),
        None,
    ],
)
def test_what_is_no_picture_is_refused_with_a_remedy(image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"is no picture; give \(height, width, 3\) uint8"):
        Preprocessor(ImageInput(8, 8))(image)


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 90), st.integers(1, 90), st.sampled_from([1, 3, 4])),
        min_size=1,
        max_size=6,
    ),
    layout=st.sampled_from(["nhwc", "nchw"]),
    color=st.sampled_from(["bgr", "rgb", "gray"]),
    dtype=st.sampled_from(["uint8", "float32"]),
)
def test_one_tensor_serves_many_canvases(
    sizes: list[tuple[int, int, int]], layout: str, color: str, dtype: str
) -> None:
    """What an earlier picture, of whatever size and canvas, has left behind never shows."""
    spec = ImageInput(32, 24, layout=layout, color=color, dtype=dtype, pad_value=114)
    canvases = [Canvas(spec), Canvas(spec)]
    buffer = TensorBuffer(spec)
    for turn, size in enumerate(sizes):
        image = picture(*size)
        canvas = canvases[turn % 2]
        canvas.place(image)
        fresh, _ = Preprocessor(spec)(image)
        assert np.array_equal(buffer.fill(canvas), fresh)
