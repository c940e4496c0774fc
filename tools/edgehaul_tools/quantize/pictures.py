"""Pictures for calibration and for comparison: a folder of images or a video, one by one."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DataError
from edgehaul.vision.reading import declared_frames, grabbed_frames, open_video, read_picture
from edgehaul_tools.dataset.read import read_dataset
from edgehaul_tools.quantize.picture_faults import PictureFaults

_log = logging.getLogger(__name__)

Picture = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".mpeg", ".webm"})
LABELS_SUFFIX = ".json"
_LOOKED_AT = 8
"""Frames of a video that are looked at for faults: files are all decoded once, frames are not."""


class Pictures:
    """Pictures spread evenly over a folder or a video; reading it twice gives the same ones.

    Args:
        source: A folder (searched in depth), an image, a video, or a COCO file whose pictures
            are meant, such as the ``train.json`` of a run directory.
        limit: Most pictures to take; 0 takes all.
        files: The pictures themselves, where not all of ``source`` are meant.

    Attributes:
        skipped: Names of the files that could not be decoded. Damaged frames of a video are
            passed over, as on the box.
        faults: What is odd about the pictures; of a video, about the first ones taken.

    Raises:
        DataError: Nothing there is a picture.
    """

    def __init__(self, source: Path, limit: int = 0, files: Sequence[Path] = ()) -> None:
        self.source = source
        self._given = list(files)
        self.skipped: list[str] = []
        self.faults = PictureFaults()
        self._is_video = source.suffix.lower() in VIDEO_SUFFIXES and source.is_file()
        self._chosen: list[int] = []
        self._chosen_files: list[Path] = []
        if self._is_video:
            self._chosen = self._choose_frames(limit)
            for picture in itertools.islice(self._frames(), _LOOKED_AT):
                self.faults.see(picture)
        else:
            self._chosen_files = self._choose_files(limit)

    def __len__(self) -> int:
        return len(self._chosen) + len(self._chosen_files)

    def __iter__(self) -> Iterator[Picture]:
        """Yield each picture, (height, width, 3) uint8 BGR."""
        return self._frames() if self._is_video else self._files()

    def _choose_files(self, limit: int) -> list[Path]:
        if not self.source.exists():
            raise DataError(
                "there is no such folder or video",
                where=self.source,
                remedy="give a folder of images or a video",
            )
        files = [file for file in self._found() if file.suffix.lower() in IMAGE_SUFFIXES]
        if not files:
            raise DataError(
                "no pictures in it",
                where=self.source,
                remedy=f"give a video, or images ({' '.join(sorted(IMAGE_SUFFIXES))}) like those "
                "that the model will see",
            )
        chosen = [files[i] for i in spread(len(files), limit)]
        readable = [file for file in chosen if self._is_readable(file)]
        if not readable:
            raise DataError(
                f"none of {len(chosen)} pictures can be decoded",
                where=self.source,
                remedy="replace the damaged files",
            )
        return readable

    def _found(self) -> list[Path]:
        if self._given:
            return self._given
        if self.source.suffix.lower() == LABELS_SUFFIX and self.source.is_file():
            return [sample.path for sample in read_dataset(self.source).samples]
        return [self.source] if self.source.is_file() else sorted(self.source.rglob("*"))

    def _is_readable(self, file: Path) -> bool:
        picture = read_picture(file)
        if picture is not None:
            self.faults.see(picture)
            return True
        self.skipped.append(file.name)
        _log.warning("%s: this picture cannot be decoded and is skipped", file)
        return False

    def _choose_frames(self, limit: int) -> list[int]:
        capture = self._open()
        declared = declared_frames(capture)
        frames = list(grabbed_frames(capture))
        capture.release()
        if not frames:
            raise DataError(
                "no frame of this video can be decoded",
                where=self.source,
                remedy="check that it plays, or convert it to H.264 in MP4",
            )
        if len(frames) < declared:
            _log.warning(
                "%s: %d of the %d frames that its header declares can be decoded",
                self.source,
                len(frames),
                declared,
            )
        return [frames[i] for i in spread(len(frames), limit)]

    def _open(self) -> cv2.VideoCapture:
        capture = open_video(self.source)
        if capture is None:
            raise DataError(
                "this video cannot be opened",
                where=self.source,
                remedy="check that it plays, or convert it to H.264 in MP4",
            )
        return capture

    def _files(self) -> Iterator[Picture]:
        for file in self._chosen_files:
            picture = read_picture(file)
            if picture is not None:
                yield picture

    def _frames(self) -> Iterator[Picture]:
        capture = self._open()
        wanted = set(self._chosen)
        for index in grabbed_frames(capture):
            if index > self._chosen[-1]:
                break
            if index in wanted:
                decoded, picture = capture.retrieve()
                if decoded:
                    yield np.asarray(picture, dtype=np.uint8)
        capture.release()


def spread(count: int, limit: int) -> list[int]:
    """Return at most ``limit`` indices spread evenly over ``count`` (all where limit is 0)."""
    if limit <= 0 or count <= limit:
        return list(range(count))
    return sorted({int((i + 0.5) * count / limit) for i in range(limit)})
