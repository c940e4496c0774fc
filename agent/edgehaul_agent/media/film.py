"""The clips of events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

from edgehaul.clock import Clock
from edgehaul.config.clips import ClipSection
from edgehaul_agent.media.archive import Archive
from edgehaul_agent.media.webm import SUFFIX, write_webm


class Film(NamedTuple):
    """A clip to be kept.

    Attributes:
        stream: Name of the stream.
        path: Where, below the stream's folder.
        jpegs: Its pictures, each for ``1 / fps`` seconds; the same one may come several times.
        fps: Pictures a second.
        nbytes: Size of its pictures.
        lost: Called where it cannot be written.
        written: Called when it is.
    """

    stream: str
    path: str
    jpegs: tuple[bytes, ...]
    fps: float
    nbytes: int
    lost: Callable[[], None]
    written: Callable[[], None]


class Maker(Protocol):
    """What makes the clips of one stream."""

    def end_overdue(self) -> None:
        """End clips that no frame has come for, for too long."""
        ...

    def close(self) -> None:
        """End all clips; once more does nothing."""
        ...


class FilmArchive(Archive[Film, ClipSection]):
    """Keeps clips as WebM files."""

    name = "films"
    what = "clips"
    suffix = SUFFIX
    most_waiting_bytes = 64 * 2**20
    last_words_s = 20.0  # a clip of a minute takes five
    look_every_s = 5.0
    niceness = 10  # encoding takes seconds, which nobody waits for, while models and cameras wait

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        super().__init__(folder, clock)
        self._makers: dict[str, Maker] = {}

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the clips of streams that hang, and write what waits."""
        for maker in tuple(self._makers.values()):
            maker.close()
        super().__exit__(kind, error, trace)

    def follow(self, stream: str, maker: Maker) -> None:
        """End a stream's clips in time also where it gives no frames, or hangs.

        The one before it is closed: a stream that was given up does not do that itself.
        """
        before = self._makers.get(stream)
        self._makers[stream] = maker
        if before is not None:
            before.close()

    def _look_round(self) -> None:
        for maker in tuple(self._makers.values()):
            maker.end_overdue()

    def _save(self, path: Path, item: Film, section: ClipSection) -> int:
        del section
        size = write_webm(path, item.jpegs, item.fps)
        item.written()
        return size
