"""Video files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from edgehaul.clock import Clock
from edgehaul.config.recordings import FileSource
from edgehaul.errors import SourceError
from edgehaul.values import Frame, Image
from edgehaul_agent.sources.base import (
    PLAYING,
    Condition,
    Pacer,
    always,
    recording_start_s,
    refusals,
)
from edgehaul_agent.sources.isolated import IsolatedCapture
from edgehaul_agent.sources.opencv import Capture, open_capture

_log = logging.getLogger(__name__)

FALLBACK_FPS = 25.0
_SANE_FPS = (0.1, 1000.0)
_PATIENCE_S = 30.0
"""A decoder in a process of its own that takes longer for a step hangs."""
_MOST_FAILED = 1000
"""So many damaged frames in a row are the end, whatever number the header declares."""


class VideoFile:
    """The frames of a video file.

    Frames that the stride passes over, or that are not wanted, are grabbed and not converted to a
    picture. Frames that cannot be decoded count as bad and the rest of the file is read; so do
    those that the header declares and that never come.

    Args:
        path: The file.
        config: How to read it; where it loops, frame numbers go on.
        stream: Name of the stream, for the frames.
        clock: Gives capture times and the pace.
        stride: Yield every n-th frame.
    """

    def __init__(
        self,
        path: Path,
        config: FileSource,
        *,
        stream: str,
        clock: Clock,
        stride: int = 1,
    ) -> None:
        self.bad = 0
        self.skipped = self.strided = 0
        self._path = path
        self._stream = stream
        self._clock = clock
        self._config = config
        self._stride = stride
        self._taken = 0
        self._capture: Capture | None = None
        self._picture: Image | None = None

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            SourceError: There is no such file, it cannot be read, or it is no video.
        """
        self._capture = self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def condition(self) -> Condition:
        """Return that it plays."""
        return PLAYING

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield the frames that are wanted.

        Raises:
            SourceError: Not one frame can be decoded, or the decoder in its own process dies.
        """
        capture = self._capture if self._capture is not None else self._open()
        fps = _fps(capture)
        declared = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        start_s = recording_start_s(
            self._clock,
            duration_s=declared / fps,
            realtime=self._config.realtime or self._config.loop,
        )
        pacer = Pacer(self._clock, realtime=self._config.realtime)

        def wanted(index: int) -> bool:
            if index % self._stride:
                self.strided += 1
                return False
            # First it is time for the frame, then it is offered: refusals do not hurry a clip.
            pacer.wait_until(index / fps)
            return wants()

        first = 0
        while True:
            for index, image in self._pass(capture, declared, wanted):
                yield Frame(self._stream, index, start_s + index / fps, image)
            self._report_end(self._taken - first, declared)
            if not self._config.loop:
                return
            first = self._taken
            capture.release()
            capture = self._capture = self._open()

    def _pass(
        self, capture: Capture, declared: int, wanted: Callable[[int], bool]
    ) -> Iterator[tuple[int, Image]]:
        """Yield number and picture of the frames of one run through the file."""
        last = self._taken + declared
        failed = 0
        while True:
            # A damaged frame fails as the end does; it is the end if none of the rest succeeds.
            if not capture.grab():
                failed += 1
                if failed > _MOST_FAILED or self._taken + failed > last:
                    return
                continue
            self._pass_over(failed)
            failed = 0
            index = self._taken
            self._taken += 1
            if not wanted(index):
                self.skipped += 1
                continue
            decoded, image = self._retrieve(capture)
            if decoded and image is not None:
                yield index, image.astype(np.uint8, copy=False)
            else:
                self.bad += 1
                _log.warning("%s: frame %d cannot be decoded, passed over", self._path, index)

    def _retrieve(self, capture: Capture) -> tuple[bool, Image | None]:
        """Make the frame a picture in the memory of the last one, which need not be cleared."""
        if not isinstance(capture, cv2.VideoCapture):
            return capture.retrieve()
        decoded, image = capture.retrieve(self._picture)
        self._picture = image if decoded else None
        return decoded, image

    def _pass_over(self, failed: int) -> None:
        if failed:
            self.bad += failed
            self._taken += failed
            _log.warning(
                "%s: %d frames before frame %d cannot be decoded, passed over",
                self._path,
                failed,
                self._taken,
            )

    def _report_end(self, taken: int, declared: int) -> None:
        if taken == 0:
            raise SourceError(
                "not one frame of this video can be decoded",
                where=self._path,
                remedy="check that the file is whole, or convert it with ffmpeg",
            )
        if taken < declared:
            self.bad += declared - taken
            _log.warning(
                "%s: ends after %d of the %d frames that its header declares",
                self._path,
                taken,
                declared,
            )

    def _open(self) -> Capture:
        with refusals(self._path):
            if not self._path.is_file():
                raise SourceError(
                    "no such video file", where=self._path, remedy="correct the path of the source"
                )
            # OpenCV does not tell a file that it may not read from one that is no video.
            self._path.open("rb").close()
        capture = self._opened()
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                "this is no video that can be decoded",
                where=self._path,
                remedy="check that the file is whole, or convert it with ffmpeg",
            )
        return capture

    def _opened(self) -> Capture:
        path = str(self._path)
        options = (cv2.CAP_PROP_N_THREADS, self._config.threads)
        if self._config.isolate:
            return IsolatedCapture(
                path,
                cv2.CAP_FFMPEG,
                options,
                where=path,
                open_s=_PATIENCE_S,
                grab_s=_PATIENCE_S,
            )
        return open_capture(path, cv2.CAP_FFMPEG, options)


def _fps(capture: Capture) -> float:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if _SANE_FPS[0] <= fps <= _SANE_FPS[1] else FALLBACK_FPS
