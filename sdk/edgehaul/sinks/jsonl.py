"""Messages in a text file, one JSON object a line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DeliveryError, MessageError
from edgehaul.messages.codec import decode
from edgehaul.messages.envelope import Envelope
from edgehaul.messages.payloads import GapData
from edgehaul.sinks.base import DeclaredGap, StoredRun
from edgehaul.subscriber.client import ReceivedMessage
from edgehaul.subscriber.ordering import SequenceSet

_BEGINNING = b'{"topic":"'


class _Line(msgspec.Struct, frozen=True):
    topic: str
    message: msgspec.Raw


class JsonlSink:
    """Appends ``{"topic": ..., "message": {...}}`` lines, each counted message once.

    A line that was cut off by a power loss is removed when the file is opened again.

    Args:
        path: The file; made where it is missing.

    Raises:
        DeliveryError: The file cannot be used, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counted: dict[tuple[str, str], SequenceSet] = {}
        self._uncounted: dict[str, str] = {}
        self._gaps: list[DeclaredGap] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise self._failure(error) from error
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        """Use in ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def write(self, batch: Sequence[ReceivedMessage]) -> int:
        """Append what is new and wait for the disk; see `Sink.write`."""
        new: dict[tuple[str, str, int, str], ReceivedMessage] = {}
        for message in batch:
            envelope = message.envelope
            # Uncounted messages all have sequence 0 and are told apart by their id.
            identity = "" if envelope.sequence else envelope.id
            if not self._has(envelope):
                new[envelope.source, envelope.epoch, envelope.sequence, identity] = message
        size = self._file.seek(0, os.SEEK_END)
        try:
            content = memoryview(b"".join(map(_line, new.values())))
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise self._failure(error) from error
        for message in new.values():
            self._note(message.envelope)
        return len(new)

    def stored(self) -> Iterator[StoredRun]:
        """Yield what is stored already; see `Sink.stored`."""
        for (source, epoch), sequences in self._counted.items():
            for first, last in sequences.runs():
                yield StoredRun(source, epoch, first, last)
        yield from self._gaps

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _has(self, envelope: Envelope) -> bool:
        if not envelope.sequence:
            return self._uncounted.get(envelope.source) == envelope.id
        known = self._counted.get((envelope.source, envelope.epoch))
        return known is not None and envelope.sequence in known

    def _note(self, envelope: Envelope) -> None:
        if not envelope.sequence:
            self._uncounted[envelope.source] = envelope.id
            return
        key = (envelope.source, envelope.epoch)
        self._counted.setdefault(key, SequenceSet()).add(envelope.sequence, envelope.sequence)
        if isinstance(envelope.data, GapData):
            gap = envelope.data
            self._gaps.append(DeclaredGap(*key, gap.first_sequence, gap.last_sequence))

    def _load(self) -> None:
        self._file.seek(0)
        complete = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n") and _is_begun(line):
                    break  # a power cut came before its end; it was not acknowledged
                complete += len(line)
                self._note(self._read(line, number))
        self._file.truncate(complete)

    def _read(self, line: bytes, number: int) -> Envelope:
        try:
            return decode(bytes(msgspec.json.decode(line, type=_Line).message))
        except (MessageError, *UNREADABLE_JSON) as error:
            raise DeliveryError(
                f"this line is no stored message: {error}",
                where=f"{self._path}:{number}",
                remedy="name another file; this one was not written by EdgeHaul",
            ) from error

    def _failure(self, error: OSError) -> DeliveryError:
        return DeliveryError(
            f"the file cannot be written: {error.strerror or error}",
            where=self._path,
            remedy="check the path, its permissions and the free space on its disk",
        )


def _is_begun(line: bytes) -> bool:
    """Return whether this may be the beginning of a line that we write."""
    # A file may have grown before its new end was written: that reads as zeros.
    return line[: len(_BEGINNING)] == _BEGINNING[: len(line)] or not line.strip(b"\0")


def _line(message: ReceivedMessage) -> bytes:
    return message.as_json_line() + b"\n"
