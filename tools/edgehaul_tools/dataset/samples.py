"""What a dataset is, whatever form it was read from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from edgehaul.geometry import Box

Part = Literal["", "train", "val", "test"]


@dataclass(frozen=True)
class TrueBox:
    """One object that somebody marked in a picture.

    Attributes:
        box: Where, in pixels of the picture.
        class_id: Index into the dataset's labels.
    """

    box: Box
    class_id: int


def whole_picture(width: int, height: int, class_id: int) -> TrueBox:
    """Return the mark of a picture that has a class as a whole."""
    return TrueBox(Box(0.0, 0.0, float(width), float(height)), class_id)


@dataclass(frozen=True)
class Sample:
    """One picture and what is in it.

    Attributes:
        path: The picture's file.
        group: The camera, vehicle, video or day that it is from; a group is never split.
        width: Width in pixels.
        height: Height in pixels.
        boxes: The objects in it; none means that it shows background alone.
        ignored: Crowds, difficult and cut-off objects: to find or to miss them is no fault.
        part: ``train``, ``val`` or ``test`` where the dataset comes divided; else empty.
    """

    path: Path
    group: str
    width: int
    height: int
    boxes: tuple[TrueBox, ...]
    ignored: tuple[Box, ...] = ()
    part: Part = ""

    @property
    def class_id(self) -> int | None:
        """The class of the picture as a whole; none where it holds marks of its parts."""
        if len(self.boxes) != 1 or self.ignored:
            return None
        (mark,) = self.boxes
        whole = whole_picture(self.width, self.height, mark.class_id)
        return mark.class_id if mark == whole else None


@dataclass(frozen=True)
class DetectionDataset:
    """Pictures with their objects.

    Attributes:
        root: Folder (or file) that was read.
        labels: Names of the classes by id; empty where the pictures are not marked at all.
        samples: The pictures, in the order of their paths.
        faults: What was mended, dropped or passed over while reading, one line for each.
    """

    root: Path
    labels: tuple[str, ...]
    samples: tuple[Sample, ...]
    faults: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def task(self) -> Literal["detect", "classify"]:
        """What its labels are for: ``classify`` where each picture as a whole has a class."""
        whole = all(sample.class_id is not None for sample in self.samples)
        return "classify" if self.samples and whole else "detect"

    def subset(self, samples: Iterable[Sample]) -> Self:
        """Return the same dataset with these samples alone."""
        return dataclasses.replace(self, samples=tuple(samples), faults=())
