"""SIGTERM and SIGINT as an orderly stop."""

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

_Handler = Callable[[int, FrameType | None], object] | int | None


class StopSignals:
    """Sets an event when SIGTERM or SIGINT comes; use it in ``with``, on the main thread.

    A further signal after a second ends the process at once.

    The handler only writes to a pipe, and a thread sets the event: a handler interrupts the
    main thread anywhere, also while that holds the event's own lock, which would then be
    waited for without end.

    Args:
        stop: Set once, when the first signal comes.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._first_at_s: float | None = None
        self._before: dict[signal.Signals, _Handler] = {}
        self._thread = threading.Thread(target=self._wait, name="signals", daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._read_end, self._write_end = os.pipe()
        self._thread.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._handle)
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
            os.write(self._write_end, b"s")
        elif now_s - self._first_at_s > _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _wait(self) -> None:
        if os.read(self._read_end, 1):
            self._stop.set()
