"""What a search has measured so far, kept so that it can be interrupted and gone on with."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import UsageError
from edgehaul_tools.compress.candidate import Candidate, Key
from edgehaul_tools.quantize.plan import Plan

JOURNAL_NAME = "compress.jsonl"


class _Heading(msgspec.Struct, frozen=True):
    search: str


class Journal:
    """The candidates of one search, one line of JSON for each, written as soon as measured.

    A line that was cut off by a crash or a power cut is measured again.

    Args:
        folder: The model directory that the search writes.
        search: Digest of all that decides what is measured: model, data, options.
        resume: Whether to go on with what is there.

    Raises:
        UsageError: There is a journal of another search, or one that nobody said to resume.
    """

    def __init__(self, folder: Path, search: str, *, resume: bool) -> None:
        self._path = folder / JOURNAL_NAME
        self._known: dict[Key, Candidate] = {}
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        if lines and not resume:
            raise UsageError(
                "an unfinished search is there",
                where=self._path,
                remedy="go on with --resume, or remove the file",
            )
        whole = [line for line in lines if _is_whole(line)]
        if whole:
            self._require_same(whole[0], search)
        for line in whole[1:]:
            one = msgspec.json.decode(line, type=Candidate)
            self._known[one.key] = one
        content = b"".join(line + b"\n" for line in whole)
        self._path.write_bytes(content or msgspec.json.encode(_Heading(search)) + b"\n")

    def __len__(self) -> int:
        return len(self._known)

    def known(self, network: str, plan: Plan | None) -> Candidate | None:
        """Return what was measured of a form before, if it was."""
        return self._known.get((network, plan))

    def add(self, one: Candidate) -> None:
        """Keep what was measured."""
        self._known[one.key] = one
        with self._path.open("ab") as stream:
            stream.write(msgspec.json.encode(one) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        """Remove the journal: the search is finished, and its report holds all."""
        self._path.unlink(missing_ok=True)

    def _require_same(self, heading: bytes, search: str) -> None:
        try:
            before = msgspec.json.decode(heading, type=_Heading).search
        except UNREADABLE_JSON:
            before = ""
        if before != search:
            raise UsageError(
                "the search that was begun here is another one: model, data or options differ",
                where=self._path,
                remedy="repeat its options, remove the file, or name another --out",
            )


def search_digest(*parts: bytes) -> str:
    """Return the SHA-256 of what decides a search."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except UNREADABLE_JSON:
        return False
    return True
