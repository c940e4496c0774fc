"""What all live cameras share: connect, read, notice faults, wait, connect again."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from types import TracebackType
from typing import Protocol, Self

from edgehaul.clock import Clock
from edgehaul.config.cameras import LiveCamera
from edgehaul.errors import AuthError, EdgeHaulError, SourceError
from edgehaul.messages.health import SourceState
from edgehaul.values import Frame, Image
from edgehaul_agent.sources.base import Condition, always, is_stopping, rested
from edgehaul_agent.sources.handover import HandOver
from edgehaul_agent.sources.timing import Backoff, CaptureTimes
from edgehaul_agent.sources.watch import PictureWatch

_log = logging.getLogger(__name__)

_STOP_POLL_S = 0.25
_STOP_PATIENCE_S = 0.5
_PICTURE_S = 10.0
"""No picture takes longer to decode."""
_STEADY_S = 10.0
"""A link that has shown a moving picture for so long has held."""
_MOST_BAD = 250
"""So many frames in a row that cannot be decoded are a fault of the stream."""


class Link(Protocol):
    """An open connection to a camera; all its calls come from one thread."""

    def grab(self) -> float | None:
        """Wait for the next frame; return its timestamp in seconds where the camera gives one.

        Raises:
            SourceError: No frame came in time, or the connection is gone.
        """
        ...

    def retrieve(self) -> Image | None:
        """Return the grabbed frame as a picture of its own; none where it cannot be decoded.

        Raises:
            SourceError: The decoder is gone.
        """
        ...

    def close(self) -> None:
        """Let go of the camera."""
        ...


class LiveSource:
    """A live camera that is connected again whenever it is lost.

    One thread does all that may block: it connects, grabs each frame as it comes, so that nothing
    grows old in a queue, and makes it a picture only where the reader waits for one, the stride
    lets it through and ``wants`` agrees; the others count as skipped. After a fault it waits
    (:class:`~edgehaul_agent.sources.timing.Backoff`) and connects again, for ever. When the agent
    stops, :meth:`frames` ends within half a second, even where the thread is still held up
    in a call; it ends by itself when that call returns.

    Frame numbers go on over reconnects. Capture times:
    :class:`~edgehaul_agent.sources.timing.CaptureTimes`.

    Args:
        connect: Opens a link; raises SourceError or, where name or password are refused, AuthError.
        config: Limits and pauses.
        stream: Name of the stream, for the frames.
        where: The camera as logs and errors may show it.
        clock: Gives times, and waits.
        stride: Yield every n-th frame at most.
        persistent: Whether to connect again; else the first fault is raised, for a check.

    Attributes:
        bad: Frames that could not be decoded.
        skipped: Frames that were not made a picture.
        strided: Of these, those that the stride has passed over.
        reconnects: How often the camera was connected again after a fault.
        faults: Number of faults so far.
        last_fault: The last one in words; empty for none.
        state: What the camera is doing.
    """

    def __init__(
        self,
        connect: Callable[[], Link],
        config: LiveCamera,
        *,
        stream: str,
        where: str,
        clock: Clock,
        stride: int = 1,
        persistent: bool = True,
    ) -> None:
        self.bad = self.skipped = self.strided = self.reconnects = self.faults = 0
        self.last_fault = ""
        self.state: SourceState = "closed"
        self._connect = connect
        self._stream = stream
        self._where = where
        self._clock = clock
        self._stride = stride
        self._persistent = persistent
        self._times = CaptureTimes()
        self._watch = PictureWatch(
            frozen_after_s=config.frozen_after_s, black_after_s=config.black_after_s
        )
        self._backoff = Backoff(
            config.reconnect_min_s,
            config.reconnect_max_s,
            refused_s=config.refused_retry_s,
            chance=random.Random(),  # noqa: S311 - spreads reconnects, keeps no secret
        )
        self._told = ""
        self._patience_s = 3 * config.open_timeout_s + config.read_timeout_s + _PICTURE_S
        self._progress_at_s = clock.monotonic_s()
        self._taken = 0
        self._bad_in_a_row = 0
        self._wants: Callable[[], bool] = always
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._handover = HandOver()

    def __enter__(self) -> Self:
        """Do nothing yet: a camera that is away now may come back, and is connected on reading."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the camera."""
        self._stop()

    def condition(self) -> Condition:
        """Return how the camera is."""
        return Condition(self.state, self.last_fault, self.reconnects)

    def frames(self, wants: Callable[[], bool] = always) -> Iterator[Frame]:
        """Yield the frames that are wanted, until the agent stops or the source is closed.

        Args:
            wants: Asked, on the thread that reads the camera, for each frame that could be had.

        Raises:
            SourceError: A fault, where the source is not persistent.
            AuthError: A refusal of name or password, where the source is not persistent.
        """
        self._wants = wants
        self._thread = threading.Thread(
            target=self._run, name=f"camera-{self._stream}", daemon=True
        )
        self._thread.start()
        try:
            while (frame := self._next()) is not None:
                yield frame
        finally:
            self._stop()

    def _stop(self) -> None:
        self._closing.set()
        self._handover.close()
        if self._thread is not None:
            self._thread.join(_STOP_PATIENCE_S)
            if self._thread.is_alive():
                _log.debug("%s: the reader is still held up in a call", self._where)

    # The reader's side

    def _next(self) -> Frame | None:
        while not self._closing.is_set():
            frame = self._handover.wait(_STOP_POLL_S)
            if frame is not None:
                return frame
            if is_stopping(self._clock):
                break
            self._look_for_hang()
        return None

    def _look_for_hang(self) -> None:
        """Tell of a call that does not come back: nothing ends it but the agent's end."""
        quiet_s = self._clock.monotonic_s() - self._progress_at_s
        if self.state != "hung" and quiet_s > self._patience_s:
            self._change("hung")
            self._note(f"the decoder has hung for {quiet_s:.0f} s")
            _log.error(
                "stream %s: %s: the decoder has hung for %.0f s; isolate: true would end it",
                self._stream,
                self._where,
                quiet_s,
            )

    # The camera's side

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                try:
                    self._change("connecting")
                    self._progress_at_s = self._clock.monotonic_s()
                    with closing(self._connect()) as link:
                        self._follow(link)
                except (SourceError, AuthError) as fault:
                    if not self._recover(fault):
                        return
        except BaseException as error:  # noqa: BLE001 - it is raised again where the frames are read
            self._handover.fail(error)
        finally:
            self._change("closed")

    def _recover(self, fault: EdgeHaulError) -> bool:
        """Wait until it is time to connect again; return whether to do so."""
        if not self._persistent:
            raise fault
        if self._closing.is_set():
            return False
        pause_s = self._backoff.pause_s(fault)
        # A camera that is away for days is told once, and again when the reason is another.
        level = logging.DEBUG if str(fault) == self._told else logging.WARNING
        self._told = str(fault)
        _log.log(level, "stream %s: %s; it is connected again", self._stream, fault)
        self._note(str(fault))
        if self.state != "frozen":  # so that it is seen what is waited for
            self._change("waiting")
        until_s = self._clock.monotonic_s() + pause_s
        while (left_s := until_s - self._clock.monotonic_s()) > 0:
            self._progress_at_s = self._clock.monotonic_s()
            if self._closing.is_set() or not rested(self._clock, min(left_s, _STOP_POLL_S)):
                return False
        self.reconnects += 1
        return True

    def _follow(self, link: Link) -> None:
        self._times.restart()
        self._watch.restart()
        self._bad_in_a_row = 0
        since_s = self._clock.monotonic_s()
        while not self._closing.is_set():
            timestamp_s = link.grab()
            self._progress_at_s = self._clock.monotonic_s()
            if self.state in {"connecting", "hung"}:
                self._change("live")
            captured_at_s = self._times.captured_at_s(timestamp_s, now_s=self._clock.now_s())
            index = self._taken
            self._taken += 1
            is_strided = index % self._stride != 0
            if is_strided or not self._handover.is_awaited or not self._wants():
                self.skipped += 1
                self.strided += is_strided
                continue
            image = link.retrieve()
            if self._is_good(image) and image is not None:
                self._judge(image, since_s)
                self._handover.give(Frame(self._stream, index, captured_at_s, image))

    def _is_good(self, image: Image | None) -> bool:
        if image is not None:
            self._bad_in_a_row = 0
            return True
        self.bad += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row >= _MOST_BAD:
            raise SourceError(
                f"{_MOST_BAD} frames in a row cannot be decoded",
                where=self._where,
                remedy="check which codec the camera sends",
            )
        return False

    def _judge(self, image: Image, since_s: float) -> None:
        """Report what the picture says of the camera.

        Raises:
            SourceError: The picture is frozen.
        """
        now_s = self._clock.monotonic_s()
        sight = self._watch.look(image, now_s=now_s)
        if sight == "frozen":
            self._change("frozen")
            raise SourceError("the picture is frozen", where=self._where)
        if sight == "black":
            self._change("black")
        elif self.state == "black" and sight == "moving":
            self._change("live")
        if sight == "moving" and now_s - since_s > _STEADY_S:
            self._backoff.reset()

    def _change(self, state: SourceState) -> None:
        """Note the state, and tell what an operator has to know, once."""
        former, self.state = self.state, state
        if former == state:
            return
        if state == "black":
            self._note("the picture is black")
            _log.warning(
                "stream %s: %s: the picture is black; check lens, light and camera",
                self._stream,
                self._where,
            )
        elif state == "live":
            self._told = ""
            _log.info("stream %s: %s is live", self._stream, self._where)

    def _note(self, fault: str) -> None:
        self.faults += 1
        self.last_fault = fault
