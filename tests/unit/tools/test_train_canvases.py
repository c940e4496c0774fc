"""Pictures come onto the canvas as on the box, whether they are kept or decoded again."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError
from edgehaul.geometry import Box
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.samples import DetectionDataset, Sample, TrueBox
from edgehaul_tools.train.pictures.canvases import IGNORED, load_canvases

SPEC = ImageInput(width=48, height=32)
SIDEWAYS = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"


def write_pictures(folder: Path, count: int) -> DetectionDataset:
    """Write noisy pictures of twice the canvas's size, each with one object."""
    random = np.random.default_rng(1)
    samples = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), random.integers(0, 256, (64, 96, 3), dtype=np.uint8))
        samples.append(Sample(path, "g", 96, 64, (TrueBox(Box(10, 20, 40, 60), 0),)))
    return DetectionDataset(folder, ("a",), tuple(samples))


@pytest.mark.parametrize("fitting", [0, 2])
def test_pictures_that_do_not_fit_into_memory_are_decoded_again(
    tmp_path: Path, fitting: int
) -> None:
    data = write_pictures(tmp_path, 6)
    whole = load_canvases(data, SPEC)
    scarce = load_canvases(data, SPEC, limit_mib=fitting * 48 * 32 * 3 / (1 << 20))
    assert isinstance(whole.images, np.ndarray)
    assert not isinstance(scarce.images, np.ndarray)
    assert len(scarce.images) == len(scarce) == 6
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda n: scarce.images[n % 6], range(24)))
    assert all(np.array_equal(again[n], whole.images[n % 6]) for n in range(24))
    assert [v.tolist() for v in scarce.boxes] == [v.tolist() for v in whole.boxes]


def test_a_picture_that_vanishes_during_the_training_is_named(tmp_path: Path) -> None:
    scarce = load_canvases(write_pictures(tmp_path, 2), SPEC, limit_mib=0)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"1\.png.*any more"):
        scarce.images[1]


def test_all_unreadable_pictures_are_named_at_once(tmp_path: Path) -> None:
    data = write_pictures(tmp_path, 5)
    (tmp_path / "1.png").write_bytes(b"no picture")
    (tmp_path / "3.png").unlink()
    with pytest.raises(DatasetError, match=r"2 faults.*1\.png.*3\.png"):
        load_canvases(data, SPEC)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures_get_three_colours(tmp_path: Path, channels: int) -> None:
    shape = (64, 96) if channels == 1 else (64, 96, channels)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "p.png"
    cv2.imwrite(str(path), image)
    data = DetectionDataset(tmp_path, ("a",), (Sample(path, "g", 96, 64, ()),))
    plain = image if channels == 1 else np.ascontiguousarray(image[:, :, :3])
    expected, _ = Preprocessor(SPEC)(plain)
    assert np.array_equal(load_canvases(data, SPEC).images[0], expected[0])


def test_a_photo_taken_sideways_is_turned(tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), dtype=np.uint8)
    image[:, :30] = 255
    code = cv2.imencode(".jpg", image)[1].tobytes()
    path = tmp_path / "p.jpg"
    segment = b"\xff\xe1" + (len(SIDEWAYS) + 2).to_bytes(2, "big") + SIDEWAYS
    path.write_bytes(code[:2] + segment + code[2:])
    sample = Sample(path, "g", 40, 80, (TrueBox(Box(0, 0, 40, 30), 0),))
    canvases = load_canvases(
        DetectionDataset(tmp_path, ("a",), (sample,)), ImageInput(width=40, height=80)
    )
    x1, y1, x2, y2 = canvases.boxes[0][0].astype(int)
    assert canvases.images[0][y1 + 2 : y2 - 2, x1:x2].mean() > 240
    assert canvases.images[0][y2 + 2 :].mean() < 15


def test_objects_too_small_for_the_canvas_are_counted_and_left_out(tmp_path: Path) -> None:
    sample = write_pictures(tmp_path, 1).samples[0]
    boxes = (TrueBox(Box(5, 5, 6, 30), 0), *sample.boxes)
    ignored = (Box(60, 10, 90, 40),)
    data = DetectionDataset(tmp_path, ("a",), (Sample(sample.path, "g", 96, 64, boxes, ignored),))
    canvases = load_canvases(data, SPEC)
    assert canvases.too_small == 1
    assert canvases.classes[0].tolist() == [0, IGNORED]
    assert canvases.boxes[0][0].tolist() == [5, 10, 20, 30]
    assert canvases.names == ("0.png",)
