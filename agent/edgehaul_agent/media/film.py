"""The clips of events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

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


class FilmArchive(Archive[Film, ClipSection]):
    """Keeps clips as WebM files."""

    name = "films"
    what = "clips"
    suffix = SUFFIX
    most_waiting_bytes = 64 * 2**20
    last_words_s = 20.0  # a clip of a minute takes five
    niceness = 10  # encoding takes seconds, which nobody waits for, while models and cameras wait

    def _save(self, path: Path, item: Film, section: ClipSection) -> int:
        del section
        size = write_webm(path, item.jpegs, item.fps)
        item.written()
        return size
