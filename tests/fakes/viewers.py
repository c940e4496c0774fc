"""Somebody who looks at a live camera, on a thread, and remembers what came."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Self

from edgehaul_agent.sources.live import LiveSource


class Seen(NamedTuple):
    """A frame that came."""

    at_s: float
    """When, on the wall clock."""
    index: int
    captured_at_s: float
    size: tuple[int, int]
    """Width and height."""
    level: float


class Viewer:
    """Reads a source until ``stop`` is set, as the agent does, or the ``with`` block ends."""

    def __init__(self, source: LiveSource, stop: threading.Event | None = None) -> None:
        self.source = source
        self._stop = stop or threading.Event()
        self.seen: list[Seen] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self.source.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.source.__exit__(None, None, None)
        self._thread.join(5)
        assert not self._thread.is_alive()

    def _look(self) -> None:
        try:
            for frame in self.source.frames():
                if self._stop.is_set():
                    return
                height, width = frame.image.shape[:2]
                level = float(frame.image.mean())
                self.seen.append(
                    Seen(time.time(), frame.index, frame.captured_at_s, (width, height), level)
                )
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def wait_for_end(self, *, within_s: float) -> float:
        """Wait until the source has ended; return how long it took, in seconds."""
        started_s = time.monotonic()
        self._thread.join(within_s)
        assert not self._thread.is_alive()
        return time.monotonic() - started_s

    def wait_for(self, condition: Callable[[], object], *, within_s: float, what: str) -> float:
        """Wait until the condition holds; return how long it took, in seconds."""
        started_s = time.monotonic()
        while not condition():
            took_s = time.monotonic() - started_s
            assert self.error is None, self.error
            assert took_s < within_s, f"{what}: not within {within_s} s; {self.source.last_fault}"
            time.sleep(0.005)
        return time.monotonic() - started_s

    def wait_for_frames(self, count: int = 1, *, within_s: float = 10.0) -> float:
        """Wait for so many further frames; return how long it took, in seconds."""
        until = len(self.seen) + count
        return self.wait_for(lambda: len(self.seen) >= until, within_s=within_s, what="frames")
