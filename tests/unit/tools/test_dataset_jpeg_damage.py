"""JPEG files that decoders fill with grey are told from those that were meant so."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgehaul_tools.dataset.check import CheckOptions, check_dataset
from edgehaul_tools.dataset.jpeg_damage import jpeg_damage
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset

PLAIN, OPTIMIZED = (), (cv2.IMWRITE_JPEG_OPTIMIZE, 1)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
RESTARTING = (cv2.IMWRITE_JPEG_RST_INTERVAL, 8)
WAYS = [PLAIN, OPTIMIZED, PROGRESSIVE, RESTARTING]
Image = NDArray[np.uint8]


def scene(height: int = 240, width: int = 320) -> Image:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 8, width // 8, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def letterboxed() -> Image:
    image = scene()
    image[100:] = 128
    return image


def boxed_at_the_right() -> Image:
    image = scene()
    image[:, 200:] = 128
    return image


def encoded(image: Image, ways: tuple[int, ...]) -> bytes:
    done, content = cv2.imencode(".jpg", image, ways)
    assert done
    return content.tobytes()


def judged(content: bytes) -> str:
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return jpeg_damage(content, np.asarray(image, np.uint8))


def zeroed(content: bytes) -> bytes:
    """Zero the middle two thirds of the coded data."""
    begin = content.find(b"\xff\xda") + 20
    length = (len(content) - begin) * 2 // 3
    return content[:begin] + bytes(length) + content[begin + length :]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"\xff\xd9"


def upright(content: bytes) -> bytes:
    """Say that the camera was held upright (EXIF orientation 6)."""
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + bytes(4)
    return content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]


@pytest.mark.parametrize("spoil", [zeroed, cut, lambda content: upright(cut(content))])
@pytest.mark.parametrize("ways", WAYS)
def test_damage_is_found(spoil: Callable[[bytes], bytes], ways: tuple[int, ...]) -> None:
    assert judged(spoil(encoded(scene(), ways)))


@pytest.mark.parametrize(
    "image",
    [
        scene(),
        letterboxed(),
        boxed_at_the_right(),
        np.zeros((1080, 1920, 3), np.uint8),
        np.full((240, 320, 3), 128, np.uint8),
        np.full((240, 320), 128, np.uint8),
        letterboxed()[..., 0],
    ],
    ids=["scene", "below", "right", "black", "grey", "one channel", "below in one channel"],
)
@pytest.mark.parametrize("ways", WAYS)
def test_what_is_whole_is_not_called_damaged(image: Image, ways: tuple[int, ...]) -> None:
    assert not judged(encoded(image, ways))
    assert not judged(upright(encoded(image, ways)))


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\x00\x04ab", b"\x89PNG"])
def test_what_is_no_jpeg_is_nothing_to_judge(content: bytes) -> None:
    assert not jpeg_damage(content, scene())


def test_a_check_names_the_damaged_file(tmp_path: Path) -> None:
    generate_conveyor_dataset(tmp_path / "set", 12, 0, width=320, height=240)
    files = sorted((tmp_path / "set" / "images").glob("*.jpg"))
    for file, spoil in zip(files[:2], (zeroed, cut), strict=True):
        file.write_bytes(spoil(file.read_bytes()))

    report = check_dataset(tmp_path / "set", options=CheckOptions(suspects=0))

    damaged = [finding for finding in report.findings if finding.kind == "damaged"]
    assert [finding.where for finding in damaged] == [str(file) for file in files[:2]]
    assert {finding.severity for finding in damaged} == {"warning"}
    assert "overwritten with zeros" in damaged[0].what
    assert "ends before the picture does" in damaged[1].what


@pytest.mark.slow
@pytest.mark.shared_data
def test_no_photo_of_a_real_set_is_called_damaged(shared_data: Path) -> None:
    files = sorted((shared_data / "images" / "bccd_voc" / "JPEGImages").glob("*.jpg"))
    assert len(files) == 364
    assert not [file.name for file in files if judged(file.read_bytes())]
