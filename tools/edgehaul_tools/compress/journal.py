"""What a search has measured so far, kept so that it can be interrupted and gone on with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError, UsageError
from edgehaul.reporting import remedy_for_writing
from edgehaul_tools.compress.candidate import Candidate, Key
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.train.durable import write_whole

JOURNAL_NAME = "compress.jsonl"


class _Heading(msgspec.Struct, frozen=True):
    search: str


class Journal:
    """The candidates of one search, one line of JSON for each, written as soon as measured.

    A line that was cut off by a crash or a power cut, or that another version of EdgeHaul wrote,
    is dropped, and its candidate measured again.

    Args:
        folder: The model directory that the search writes.
        search: Digest of all that decides what is measured: model, data, options.
        resume: Whether to go on with what is there.

    Raises:
        ModelError: The journal cannot be read or written.
        UsageError: There is a journal of another search, or one that nobody said to resume.
    """

    def __init__(self, folder: Path, search: str, *, resume: bool) -> None:
        refuse_begun(folder, resume=resume)
        self._path = folder / JOURNAL_NAME
        self._known: dict[Key, Candidate] = {}
        self._heading = msgspec.json.encode(_Heading(search))
        with self._or_say():
            content = self._path.read_bytes() if self._path.exists() else b""
        heading, *lines = content.splitlines() or [b""]
        read = [one for one in map(_candidate, lines) if one is not None]
        if _search(heading) is not None or read:  # else it was begun, and cut off at once
            self._require_same(heading, search)
        for one in read:
            self._known[one.key] = one
        if content != self._content():
            self._rewrite()

    def __len__(self) -> int:
        return len(self._known)

    def known(self, network: str, plan: Plan | None) -> Candidate | None:
        """Return what was measured of a form before, if it was."""
        return self._known.get((network, plan))

    def add(self, one: Candidate) -> None:
        """Keep what was measured.

        Raises:
            ModelError: It cannot be written.
        """
        self._known[one.key] = one
        line = msgspec.json.encode(one) + b"\n"
        with self._or_say(), self._path.open("a+b") as stream:
            # What was left of a line where the disk was full must not become a part of this one.
            stream.write(line if _is_at_line_start(stream) else b"\n" + line)
            stream.flush()
            os.fsync(stream.fileno())

    def forget(self, network: str) -> None:
        """Drop all that was measured of a network, which is another one now.

        Raises:
            ModelError: The journal cannot be written.
        """
        kept = {key: one for key, one in self._known.items() if one.network != network}
        if len(kept) < len(self._known):
            self._known = kept
            self._rewrite()

    def close(self) -> None:
        """Remove the journal: the search is finished, and its report holds all."""
        self._path.unlink(missing_ok=True)

    def _content(self) -> bytes:
        lines = (self._heading, *map(msgspec.json.encode, self._known.values()))
        return b"".join(line + b"\n" for line in lines)

    def _rewrite(self) -> None:
        with self._or_say():
            write_whole(self._path, self._content())

    @contextmanager
    def _or_say(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ModelError(
                f"the journal of the search cannot be kept: {error.strerror or error}",
                where=self._path,
                remedy=remedy_for_writing(error),
            ) from error

    def _require_same(self, heading: bytes, search: str) -> None:
        if _search(heading) != search:
            raise UsageError(
                "the search that was begun here is another one: model, data, options, versions "
                "or the machine differ",
                where=self._path,
                remedy="repeat its options, remove the file, or name another --out",
            )


def refuse_begun(folder: Path, *, resume: bool) -> None:
    """Refuse to begin a search where another one waits to go on.

    Raises:
        UsageError: ``folder`` holds a journal, and ``resume`` is not set.
    """
    path = folder / JOURNAL_NAME
    if not resume and path.is_file() and path.stat().st_size:
        raise UsageError(
            "an unfinished search is there",
            where=path,
            remedy="go on with --resume, or remove the file",
        )


def holds_nothing(folder: Path) -> bool:
    """Whether the journal of a folder, if it has one, holds no candidate."""
    path = folder / JOURNAL_NAME
    return not path.is_file() or path.read_bytes().count(b"\n") <= 1


def search_digest(*parts: bytes) -> str:
    """Return the SHA-256 of what decides a search."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _candidate(line: bytes) -> Candidate | None:
    """Return the candidate of a line; none where it is torn, or of another version."""
    try:
        return msgspec.json.decode(line, type=Candidate)
    except UNREADABLE_JSON:
        return None


def _search(heading: bytes) -> str | None:
    """Return which search a first line belongs to; none where it does not say."""
    try:
        return msgspec.json.decode(heading, type=_Heading).search
    except UNREADABLE_JSON:
        return None


def _is_at_line_start(stream: BinaryIO) -> bool:
    if not stream.seek(0, os.SEEK_END):
        return True
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
