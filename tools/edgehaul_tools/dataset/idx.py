"""IDX: pictures of one size packed in one file, labels in another (yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.label_names import read_label_names
from edgehaul_tools.dataset.parts import part_named
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import DetectionDataset, Part, Sample, whole_picture

_IMAGES = re.compile(r"^(?:.*-)?(train|t10k|test|val)-images[-.]idx3-ubyte(?:\.gz)?$")
_UNSIGNED_BYTE = 8
_PICTURE_DIMENSIONS = 3
_MOST_BYTES = 1 << 32
_FAST_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


class IdxPair(NamedTuple):
    """The two files of one part."""

    part: Part
    images: Path
    labels: Path


def find_idx(root: Path) -> list[IdxPair]:
    """Return the files of pictures and labels in a folder; ``t10k`` is the test part."""
    if not root.is_dir():
        return []
    pairs = []
    for file in sorted(root.iterdir()):
        if told := _IMAGES.match(file.name):
            word = told.group(1)
            name = file.name.replace("-images", "-labels").replace("idx3", "idx1")
            pairs.append(IdxPair("test" if word == "t10k" else part_named(word), file, root / name))
    return pairs


def unpack_idx(root: Path, out: Path, progress: Progress | None = None) -> DetectionDataset:
    """Write the pictures as PNG below ``out/images`` and return them with their classes.

    Args:
        root: Folder with the files, such as ``train-images-idx3-ubyte.gz``. ``labels.txt``
            names the classes; without it they are called by their numbers.
        out: Folder to write into.
        progress: Told of each picture.

    Raises:
        DatasetError: A file is missing, damaged, or does not fit the other one.
    """
    read = [(pair, *_read_pair(pair)) for pair in find_idx(root)]
    highest = max((int(numbers.max()) for _, _, numbers in read), default=-1)
    labels = read_label_names(root) or tuple(str(number) for number in range(highest + 1))
    if highest >= len(labels):
        raise DatasetError(
            f"class {highest} is not in 0..{len(labels) - 1}",
            where=root,
            remedy="name every class in labels.txt",
        )
    total = sum(len(pictures) for _, pictures, _ in read)
    samples: list[Sample] = []
    for pair, pictures, numbers in read:
        folder = out / "images" / pair.part
        folder.mkdir(parents=True)
        for index, (picture, number) in enumerate(zip(pictures, numbers, strict=True)):
            samples.append(_save(folder / f"{index:06d}.png", picture, int(number), pair.part))
            if progress:
                progress(len(samples), total)
    return DetectionDataset(root, labels, tuple(samples))


def _save(path: Path, picture: NDArray[np.uint8], class_id: int, part: Part) -> Sample:
    coded, content = cv2.imencode(".png", picture, _FAST_PNG)
    if not coded:
        raise DatasetError("the picture cannot be coded", where=path, remedy="check its size")
    # Written here and not by OpenCV, which does not say why a file cannot be written.
    path.write_bytes(content.tobytes())
    height, width = picture.shape
    group = f"{part}/{path.name}"
    return Sample(path, group, width, height, (whole_picture(width, height, class_id),), part=part)


def _read_pair(pair: IdxPair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    pictures, numbers = _read(pair.images, _PICTURE_DIMENSIONS), _read(pair.labels, 1)
    if len(pictures) != len(numbers):
        raise DatasetError(
            f"{len(pictures)} pictures, but {len(numbers)} labels",
            where=pair.images,
            remedy="download both files again",
        )
    return pictures, numbers


def _read(file: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in a file of bytes, compressed or not."""
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        with opener(file, "rb") as stream:
            shape = _shape(stream.read(4 + 4 * dimensions), dimensions)
            count = math.prod(shape)
            content = stream.read(count)
    except FileNotFoundError as error:
        raise DatasetError("is missing", where=file, remedy="download it, too") from error
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{error}", where=file, remedy="download the file again") from error
    if len(content) != count:
        raise DatasetError(
            f"cut short: {len(content)} of {count} bytes",
            where=file,
            remedy="download the file again",
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(head: bytes, dimensions: int) -> tuple[int, ...]:
    if not head:
        raise ValueError("the file is empty")
    if head[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)) or len(head) != 4 + 4 * dimensions:
        raise ValueError(f"no IDX file of bytes in {dimensions} dimensions")
    shape = tuple(int(side) for side in np.frombuffer(head[4:], ">u4"))
    if math.prod(shape) > _MOST_BYTES or 0 in shape:
        raise ValueError(f"its header declares {' x '.join(map(str, shape))} bytes")
    return shape
