"""A frame from the thread that reads a camera to the one that asked for it."""

from __future__ import annotations

import threading

from edgehaul.values import Frame


class HandOver:
    """Holds at most one frame, and takes none that nobody waits for: frames grow old.

    Attributes:
        is_awaited: Whether somebody waits for a frame.
    """

    def __init__(self) -> None:
        self.is_awaited = False
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._failure: BaseException | None = None
        self._is_closed = False

    def wait(self, timeout_s: float) -> Frame | None:
        """Return the next frame; none where none came in time, or it is closed.

        Raises:
            BaseException: What the other thread failed with.
        """
        with self._changed:
            self.is_awaited = True
            self._changed.wait_for(self._has_news, timeout_s)
            frame, self._frame = self._frame, None
            if frame is not None:
                self.is_awaited = False
            elif self._failure is not None:
                raise self._failure
            return frame

    def give(self, frame: Frame) -> None:
        """Hand over a frame that is awaited."""
        with self._changed:
            self._frame = frame
            self.is_awaited = False
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """Raise an error where frames are awaited."""
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def close(self) -> None:
        """Wake whoever waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_news(self) -> bool:
        return self._frame is not None or self._failure is not None or self._is_closed
