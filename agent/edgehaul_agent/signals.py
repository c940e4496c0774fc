"""SIGTERM and SIGINT as an orderly stop, SIGHUP as the wish for another configuration."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

_SAME_WISH_S = 1.0
"""Signals closer together are one wish: `timeout` and terminals tell a process and its group."""
_STOP, _RELOAD = b"s", b"r"

_Handler = Callable[[int, FrameType | None], object] | int | None


class StopSignals:
    """Sets an event when SIGTERM or SIGINT comes; use it in ``with``, on the main thread.

    A further signal after a second ends the process at once.

    The handler only writes to a pipe, and a thread sets the event: a handler interrupts the
    main thread anywhere, also while that holds the event's own lock, which would then be
    waited for without end.

    Args:
        stop: Set once, when the first signal comes.
        reload: Set whenever SIGHUP comes; without it SIGHUP is left as it is.
    """

    def __init__(self, stop: threading.Event, reload: threading.Event | None = None) -> None:
        self._stop = stop
        self._reload = reload
        self._first_at_s: float | None = None
        self._before: dict[signal.Signals, _Handler] = {}
        self._thread = threading.Thread(target=self._wait, name="signals", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._write_end, False)
        self._thread.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
        if self._reload is not None:
            self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._handle_reload)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the signals back to whom they belonged before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write_end)
        self._thread.join()
        os.close(self._read_end)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self._first_at_s is None:
            self._first_at_s = now_s
            self._write(_STOP)
        elif now_s - self._first_at_s > _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _handle_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._write(_RELOAD)

    def _write(self, wish: bytes) -> None:
        try:
            os.write(self._write_end, wish)
        except BlockingIOError:
            # Thousands of wishes wait already; to stop is not forgotten for them.
            self._first_at_s = None

    def _wait(self) -> None:
        while wishes := os.read(self._read_end, 4096):
            if _STOP in wishes:
                self._stop.set()
            if self._reload is not None and _RELOAD in wishes:
                self._reload.set()
