"""Splits by camera and by day, which names and photos tell."""

import dataclasses
from pathlib import Path, PurePath

import cv2
import numpy as np
import pytest

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.exif_day import exif_day
from edgehaul_tools.dataset.grouping import regrouped
from edgehaul_tools.dataset.groups import camera_in, day_in
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.dataset.split import split

CASES = [
    ("dock3_20240131_0001.jpg", "dock3", "2024-01-31"),
    ("dock3_2024-01-31_121500_17.jpg", "dock3", "2024-01-31"),
    ("truck 7 20240131121500.jpg", "truck 7", "2024-01-31"),
    ("cam-2_2024_01_31.jpg", "cam-2", "2024-01-31"),
    ("20240131_121500_cam2_0007.jpg", "cam2", "2024-01-31"),
    ("2024-01-31T12.15.00Z_north.jpg", "north", "2024-01-31"),
    ("IMG_20240131_121500.jpg", "", "2024-01-31"),
    ("images/dock1/IMG_20240131_121500.jpg", "dock1", "2024-01-31"),
    ("train/images/2024-01-31/gate/0001.jpg", "gate", "2024-01-31"),
    ("cam1_000123.jpg", "cam1", ""),
    ("dock3_0815_000123.jpg", "dock3_0815", ""),
    ("images/val/0001.jpg", "", ""),
    ("dock_20241331_1.jpg", "dock_20241331", ""),
    ("dock_120240131_1.jpg", "dock_120240131", ""),
    ("dock_202401315_1.jpg", "dock_202401315", ""),
]


@pytest.mark.parametrize(("name", "camera", "day"), CASES)
def test_what_a_name_tells(name: str, camera: str, day: str) -> None:
    assert (camera_in(PurePath(name)), day_in(PurePath(name))) == (camera, day)


def photo(path: Path, day: bytes, order: str = "II") -> Path:
    """A photo with the day in its EXIF notes."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if order == "II" else "big")

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return number(tag, 2) + number(kind, 2) + number(count, 4) + number(value, 4)

    head = order.encode() + number(42, 2) + number(8, 4)
    first = number(1, 2) + entry(0x8769, 4, 1, 26) + bytes(4)
    second = number(1, 2) + entry(0x9003, 2, 20, 44) + bytes(4)
    exif = b"Exif\0\0" + head + first + second + day + b" 12:15:00\0"
    done, content = cv2.imencode(".jpg", np.zeros((30, 40, 3), np.uint8))
    assert done
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path.write_bytes(content.tobytes()[:2] + segment + content.tobytes()[2:])
    return path


@pytest.mark.parametrize("order", ["II", "MM"])
def test_the_day_that_the_camera_wrote(tmp_path: Path, order: str) -> None:
    assert exif_day(photo(tmp_path / "a.jpg", b"2024:01:31", order)) == "2024:01:31"


@pytest.mark.parametrize("content", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x87\x69"])
def test_files_that_tell_no_day(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert not exif_day(tmp_path / "a.jpg")


def noise(root: Path, names: list[str]) -> DetectionDataset:
    rng = np.random.default_rng(0)
    samples = []
    for name in names:
        assert cv2.imwrite(str(root / name), rng.integers(0, 255, (48, 64, 3)).astype(np.uint8))
        samples.append(Sample(root / name, name, 64, 48, ()))
    return DetectionDataset(root, (), tuple(samples))


@pytest.mark.parametrize("by", ["camera", "day"])
def test_no_camera_or_day_is_torn_apart(tmp_path: Path, by: str) -> None:
    names = [f"dock{c}_2024010{d}_{n}.png" for c in range(4) for d in range(1, 5) for n in (1, 2)]
    parts = split(regrouped(noise(tmp_path, names), by), (0.5, 0.25, 0.25))
    groups = [{sample.group for sample in p.samples} for p in (parts.train, parts.val, parts.test)]
    assert [len(part) for part in groups] == [2, 1, 1]
    assert len(set.union(*groups)) == 4


def test_photos_are_grouped_by_the_day_they_were_taken(tmp_path: Path) -> None:
    dataset = noise(tmp_path, ["IMG_1.png", "IMG_2.png", "IMG_3_20240201.png", "IMG_4.png"])
    paths = [
        photo(tmp_path / "a.jpg", b"2024:01:31"),
        photo(tmp_path / "b.jpg", b"2024:02:01"),
        dataset.samples[2].path,
        dataset.samples[3].path,
    ]
    samples = [dataclasses.replace(s, path=p) for s, p in zip(dataset.samples, paths, strict=True)]
    grouped = regrouped(dataset.subset(samples), "day")
    found = [sample.group for sample in grouped.samples]
    assert found == ["2024-01-31", "2024-02-01", "2024-02-01", "unknown"]


@pytest.mark.parametrize("by", ["camera", "day"])
def test_most_pictures_must_tell(tmp_path: Path, by: str) -> None:
    dataset = noise(tmp_path, ["IMG_1.png", "IMG_2.png", "dock_20240131.png"])
    with pytest.raises(DatasetError, match=f"2 of 3 pictures do not tell their {by}"):
        regrouped(dataset, by)
