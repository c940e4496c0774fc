"""Which events of a camera have a clip, from when to when, and under which name.

The thread that decodes puts small pictures into a ring, the workers tell of events, and what is
complete goes to a thread that makes a film of it. All that frames have in common with clips while
nothing happens is one picture for every ``1 / fps`` seconds.

A frame is never decoded for a clip alone: that would cost every second of the year what the policy
saves. So a clip shows what was decoded, also frames that the motion gate then refused, but none
that stride, hours or a policy refused before; there the picture stands still in between.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque

import cv2
import msgspec
import numpy as np

from edgehaul.config.clips import ClipSection
from edgehaul.messages.payloads import CameraEvent
from edgehaul.values import Image
from edgehaul_agent.health.metrics import StreamMetrics
from edgehaul_agent.media.archive import name_below_root
from edgehaul_agent.media.film import Film, FilmArchive
from edgehaul_agent.media.webm import SUFFIX
from edgehaul_agent.pipeline.occasions import Occasions
from edgehaul_agent.pipeline.ring import Ring, Still, at_even_times

_log = logging.getLogger(__name__)

_MOST_LAG_S = 10.0
"""Capture time by which an event may be told after newer frames have come: frames wait for the
model, and the ring must still have what was before them."""
_AWAY_S = 5.0
"""A camera that has given nothing for so much longer than a clip may go on is away."""
_NEVER_S = float("-inf")
_HALF = 2


class _OpenClip(msgspec.Struct):
    """A clip that is not complete."""

    path: str
    start_s: float
    end_s: float


class Clips:
    """Makes clips of one camera stream.

    Args:
        archive: Writes them, if it has the time.
        stream: Name of the stream.
        section: Of what, and how long.
        metrics: Counts what is written, and what is not although it should be.
    """

    def __init__(
        self, archive: FilmArchive, stream: str, section: ClipSection, metrics: StreamMetrics
    ) -> None:
        self._archive = archive
        self._stream = stream
        self._section = section
        self._metrics = metrics
        self._occasions = Occasions(section, SUFFIX)
        self._ring = Ring(section.buffer_bytes, section.max_s + _MOST_LAG_S)
        self._lock = threading.Lock()
        self._open: deque[_OpenClip] = deque()
        self._slot = 0
        self._newest_s = _NEVER_S
        self._came_s = 0.0
        """When that was, by a clock that never goes back."""
        self._told_until_s = _NEVER_S
        """All events before this capture time have been told."""
        self._has_warned = False
        archive.keep(stream, section)
        archive.follow(stream, self)

    def see(self, image: Image, captured_at_s: float, *, is_idle: bool) -> None:
        """Take a frame that has been decoded. The thread that decodes calls.

        Args:
            image: The picture, (height, width, 3) uint8 BGR; it is not kept.
            captured_at_s: Its capture time, UTC seconds.
            is_idle: Whether no frame before it is still waiting for the model.
        """
        # By a grid of times, so that the rate holds also where frames come at no multiple of it.
        slot = math.floor(captured_at_s * self._section.fps)
        if slot == self._slot:
            return
        self._slot = slot
        still = Still(captured_at_s, self._encoded(image))
        with self._lock:
            if captured_at_s < self._newest_s:  # the clock was set back, or a file begins anew
                self._start_anew()
            self._newest_s = captured_at_s
            self._came_s = self._archive.clock.monotonic_s()
            if is_idle:
                self._told_until_s = captured_at_s
            self._told_until_s = max(self._told_until_s, captured_at_s - _MOST_LAG_S)
            self._end_complete()
            self._make_room(len(still.jpeg))
            self._ring.add(still)
            self._forget()

    def take(self, event: CameraEvent, captured_at_s: float) -> str:
        """Return the name of the clip that shows an event, below the device's root; empty for none.

        The file comes when the clip has ended; it may never come where the disk is full, and it
        goes when its time is over.

        Args:
            event: What happened.
            captured_at_s: The capture time of its frame, UTC seconds.
        """
        if not self._occasions.include(event):
            return ""
        with self._lock:
            # Where the clock has been set back since, the pictures before the event are gone.
            if not self._ring or captured_at_s > self._newest_s + 2 / self._section.fps:
                return ""
            clip = self._open[-1] if self._open else None
            end_s = captured_at_s + self._section.post_s
            is_within = clip is not None and clip.start_s <= captured_at_s <= clip.end_s
            if clip is None or not is_within or end_s > clip.start_s + self._section.max_s:
                path = self._occasions.path(event, captured_at_s)
                clip = _OpenClip(path, captured_at_s - self._section.pre_s, end_s)
                self._open.append(clip)
            clip.end_s = max(clip.end_s, end_s)
            return name_below_root(self._stream, clip.path)

    def settle(self, captured_at_s: float) -> None:
        """Say that all events of a frame have been told. The worker calls."""
        with self._lock:
            self._told_until_s = max(self._told_until_s, captured_at_s)

    def end_overdue(self) -> None:
        """End clips of a camera that has gone away: nobody shall have to wait for its return."""
        with self._lock:
            away_s = self._archive.clock.monotonic_s() - self._came_s
            if away_s > self._section.post_s + _AWAY_S:
                self._hand_over_all()

    def close(self) -> None:
        """End all clips with the newest picture: the stream is over."""
        with self._lock:
            self._start_anew()

    # ---- with the lock held ---------------------------------------------------------------

    def _end_complete(self) -> None:
        """Hand over the clips that no picture and no event can belong to any more."""
        until_s = min(self._newest_s, self._told_until_s)
        while self._open and self._open[0].end_s < until_s:
            self._hand_over(self._open.popleft())

    def _make_room(self, size: int) -> None:
        """End clips early where memory is short: better than to lose how they began."""
        while self._open and not self._ring.has_room(size):
            if not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "stream %s: clips end early: buffer_mb is too small for their pictures",
                    self._stream,
                )
            self._hand_over(self._open.popleft())
            self._forget()

    def _forget(self) -> None:
        first_s = self._told_until_s - self._section.pre_s
        self._ring.forget_before(min([first_s, *(clip.start_s for clip in self._open)]))

    def _hand_over_all(self) -> None:
        while self._open:
            self._hand_over(self._open.popleft())

    def _start_anew(self) -> None:
        self._hand_over_all()
        self._ring.clear()
        self._newest_s = self._told_until_s = _NEVER_S

    def _hand_over(self, clip: _OpenClip) -> None:
        fps = self._section.fps
        stills = self._ring.between(clip.start_s, clip.end_s)
        if not stills:  # time has jumped on by more than the ring holds
            self._metrics.lose_clip()
            return
        start_s = max(clip.start_s, stills[0].captured_at_s)
        end_s = min(clip.end_s, self._newest_s + 1 / fps)
        film = Film(
            stream=self._stream,
            path=clip.path,
            jpegs=at_even_times(stills, start_s, end_s, fps),
            fps=fps,
            nbytes=sum(len(still.jpeg) for still in stills),
            lost=self._metrics.lose_clip,
            written=self._metrics.write_clip,
        )
        if not self._archive.put(film):
            self._metrics.lose_clip()

    def _encoded(self, image: Image) -> bytes:
        image = _small(image, self._section.max_edge_px)
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self._section.quality])
        return jpeg.tobytes()


def _small(image: Image, max_edge_px: int) -> Image:
    """Return a picture whose sides are no longer than that, and even as films need them.

    By halves as long as it is large, which is quick and leaves nothing out, and then between
    neighbours: means over uneven areas take three to ten times as long.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_edge_px / max(height, width))
    wanted = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    while min(width // wanted[0], height // wanted[1]) >= _HALF:
        height, width = height // 2, width // 2
        image = _resized(image[: 2 * height, : 2 * width], (width, height), cv2.INTER_AREA)
    if (width, height) != wanted:
        image = _resized(image, wanted, cv2.INTER_LINEAR)
    return image


def _resized(image: Image, size: tuple[int, int], how: int) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)
