"""Pictures of videos, for people to mark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError, UsageError
from edgehaul.vision.reading import declared_frames, grabbed_frames, open_video
from edgehaul_tools.dataset.pictures import find_files, find_pictures
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

SUFFIXES = frozenset(
    {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
)
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Sampling:
    """Which frames are taken.

    Attributes:
        every: Every so many frames.
        fps: Or so many frames a second of the video.
    """

    every: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        """Refuse what takes no frames."""
        if self.every < 1 or (self.fps is not None and not self.fps > 0):
            raise UsageError(
                "no frames would be taken", remedy="give --every 1 or more, or --fps above 0"
            )

    def takes(self, index: int, video_fps: float) -> bool:
        """Return whether a frame is taken, given the rate of the video."""
        if self.fps is None:
            return index % self.every == 0
        share = min(1.0, self.fps / video_fps)
        return index == 0 or int(index * share) > int((index - 1) * share)


def find_videos(root: Path) -> list[Path]:
    """Return the videos, given one or a folder of them without any pictures."""
    if root.is_file():
        return [root] if root.suffix.lower() in SUFFIXES else []
    videos = find_files(root, SUFFIXES)
    return [] if videos and find_pictures(root) else videos


def extract_frames(
    root: Path, out: Path, sampling: Sampling, progress: Progress | None = None
) -> DetectionDataset:
    """Write frames as JPEG below ``out/images`` and return them without marks.

    All frames of one video are one group. A video that ends early or has damaged frames gives
    those that can be decoded; the rest is told as faults.

    Args:
        root: A video, or a folder of videos.
        out: Folder to write into.
        sampling: Which frames.
        progress: Told of each frame that was looked at.

    Raises:
        DatasetError: A video cannot be opened, or not one frame of it can be decoded.
    """
    samples: list[Sample] = []
    faults: list[str] = []
    for video in find_videos(root):
        name = video.name if video == root else video.relative_to(root).as_posix()
        folder = out / "images" / name
        folder.mkdir(parents=True)
        reader = _Reader(video)
        for index, image in reader.frames(sampling, progress):
            samples.append(_save(folder / f"{index:06d}.jpg", image, name))
        faults += reader.faults()
    return DetectionDataset(root, (), tuple(samples), tuple(faults))


def _save(path: Path, image: NDArray[np.uint8], group: str) -> Sample:
    coded, content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not coded:
        raise DatasetError("the frame cannot be coded", where=path, remedy="convert the video")
    path.write_bytes(content.tobytes())
    return Sample(path, group, image.shape[1], image.shape[0], ())


class _Reader:
    """Reads one video once, past frames that fail.

    Args:
        video: The file.

    Raises:
        DatasetError: It cannot be opened.
    """

    def __init__(self, video: Path) -> None:
        self._video = video
        capture = open_video(video)
        if capture is None:
            raise DatasetError(
                "this video cannot be opened",
                where=video,
                remedy="check that it plays, or convert it to H.264 in MP4",
            )
        self._capture = capture
        self._declared = declared_frames(capture)
        self._decoded = 0

    def frames(
        self, sampling: Sampling, progress: Progress | None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the frames that are taken, each with its number."""
        fps = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        for index in grabbed_frames(self._capture):
            self._decoded += 1
            if progress:
                progress(index + 1, max(self._declared, index + 1))
            if not sampling.takes(index, fps):
                continue
            decoded, image = self._capture.retrieve()
            if decoded:
                yield index, np.asarray(image, dtype=np.uint8)
            else:
                self._decoded -= 1
        self._capture.release()
        if not self._decoded:
            raise DatasetError(
                "no frame of this video can be decoded",
                where=self._video,
                remedy="check that it plays, or convert it to H.264 in MP4",
            )

    def faults(self) -> list[str]:
        """Return what to tell of the frames that are missing."""
        missing = self._declared - self._decoded
        if missing <= 0:
            return []
        return [f"{self._video}: {self._decoded} of the {self._declared} frames decode"]
