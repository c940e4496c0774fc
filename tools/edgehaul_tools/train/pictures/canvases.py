"""A dataset brought onto the model's canvas, and kept in memory as far as it fits."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

IGNORED = -2
"""Class of objects that a detector may find or not: cut off, or marked so in the dataset."""
_LEAST_SIDE_PX = 1.0
"""Boxes smaller than this on the canvas cannot be learnt."""
_MEMORY_SHARE = 0.25
"""Share of the free memory that pictures may take; the others are decoded when wanted."""
_MEBIBYTE = 1 << 20


class Images(Protocol):
    """Pictures by number: an array of them, or whoever makes them when wanted."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> NDArray[np.uint8]:
        """Return one picture (height, width, channels), in any thread; not to be changed."""
        ...


@dataclass(frozen=True)
class CanvasSet:
    """Pictures as the model sees them, and their objects.

    Attributes:
        images: Each (height, width, channels) uint8 in the model's colour order.
        boxes: For each picture (k, 4) float32 x1, y1, x2, y2 in canvas pixels.
        classes: For each picture (k,) int64, ``IGNORED`` among them.
        pad_value: Grey value outside the picture.
        too_small: Number of objects left out, as less than a pixel of them is left.
        names: The pictures' names, for messages; none where they have none.
    """

    images: Images
    boxes: tuple[NDArray[np.float32], ...]
    classes: tuple[NDArray[np.int64], ...]
    pad_value: int = 114
    too_small: int = 0
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.boxes)


class _Decoder:
    """Reads pictures onto the canvas exactly as the box will, in any thread."""

    def __init__(self, spec: ImageInput) -> None:
        self._spec = spec
        self._of_thread = threading.local()

    def __call__(self, sample: Sample) -> tuple[NDArray[np.uint8], Placement] | None:
        """Return the canvas, valid until this thread's next call, or None if unreadable."""
        try:
            # Grey and transparent pictures become three colours, sideways ones are turned.
            image = cv2.imread(str(sample.path), cv2.IMREAD_COLOR)
        except cv2.error:  # its header declares more than OpenCV would hold
            return None
        if image is None:
            return None
        preprocessor = getattr(self._of_thread, "preprocessor", None)
        if preprocessor is None:
            preprocessor = self._of_thread.preprocessor = Preprocessor(self._spec)
        tensor, placement = preprocessor(np.asarray(image, np.uint8))
        return tensor[0], placement


class _DecodedAgain:
    """Pictures of which the first are in memory and the others on the disk."""

    def __init__(
        self, kept: NDArray[np.uint8], samples: Sequence[Sample], decode: _Decoder
    ) -> None:
        self._kept, self._samples, self._decode = kept, samples, decode

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, number: int, /) -> NDArray[np.uint8]:
        """Return one picture.

        Raises:
            DatasetError: It was readable at first, and is not any more.
        """
        if 0 <= number < len(self._kept):
            return np.asarray(self._kept[number], np.uint8)
        decoded = self._decode(self._samples[number])
        if decoded is None:
            raise DatasetError(
                "this picture cannot be read any more",
                where=self._samples[number].path,
                remedy="leave the dataset as it is until the training is over",
            )
        return decoded[0].copy()


def load_canvases(
    dataset: DetectionDataset, spec: ImageInput, *, limit_mib: float | None = None
) -> CanvasSet:
    """Read all pictures of a dataset and keep as many of them as fit.

    Args:
        dataset: The pictures and their objects.
        spec: The canvas.
        limit_mib: Memory for pictures; None takes a quarter of what is free.

    Raises:
        DatasetError: Pictures cannot be read; it names them all at once.
    """
    samples, decode = dataset.samples, _Decoder(spec)
    shape = (spec.height, spec.width, spec.channels)
    limit = _free_mib() * _MEMORY_SHARE if limit_mib is None else limit_mib
    fitting = int(limit * _MEBIBYTE // max(1, int(np.prod(shape))))
    kept = np.empty((min(len(samples), fitting), *shape), dtype=np.uint8)

    def load(number: int) -> Placement | None:
        decoded = decode(samples[number])
        if decoded is None:
            return None
        if number < len(kept):
            kept[number] = decoded[0]
        return decoded[1]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        placements = list(pool.map(load, range(len(samples))))
    faults = FaultBook()
    marks = []
    for sample, placement in zip(samples, placements, strict=True):
        if placement is None:
            faults.fatal.append(f"{sample.path}: the picture cannot be read")
        else:
            marks.append(_marks(sample, placement, spec))
    faults.raise_fatal(dataset.root)
    return CanvasSet(
        images=kept if len(kept) == len(samples) else _DecodedAgain(kept, samples, decode),
        boxes=tuple(boxes for boxes, _, _ in marks),
        classes=tuple(classes for _, classes, _ in marks),
        pad_value=spec.pad_value,
        too_small=sum(lost for _, _, lost in marks),
        names=tuple(sample.path.name for sample in samples),
    )


def _marks(
    sample: Sample, placement: Placement, spec: ImageInput
) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
    """Return boxes and classes on the canvas, and how many were too small for it."""
    marks = [(mark.box, mark.class_id) for mark in sample.boxes]
    marks += [(box, IGNORED) for box in sample.ignored]
    original = np.array([msgspec.structs.astuple(box) for box, _ in marks], dtype=np.float64)
    placed = placement.boxes_to_canvas(original.reshape(-1, 4))
    limit = np.array([spec.width, spec.height] * 2, dtype=np.float32)
    placed = np.clip(placed, 0, limit)
    large = (placed[:, 2:] - placed[:, :2]).min(axis=1, initial=np.inf) >= _LEAST_SIDE_PX
    classes = np.array([class_id for _, class_id in marks], dtype=np.int64)
    return placed[large], classes[large], int((~large).sum())


def _free_mib() -> float:
    """Return the memory that is free, on systems that do not tell a modest amount."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _MEBIBYTE
    except (ValueError, OSError, AttributeError):
        return 2048.0
