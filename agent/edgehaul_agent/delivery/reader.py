"""Reads the spool's file beside the thread that writes it (WAL lets both go on)."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgehaul.messages.payloads import Lane
from edgehaul_agent.delivery.store import connect, is_damage

_LOG = logging.getLogger(__name__)
_SELECT = "SELECT sequence, lane, topic, recorded_at_s, content FROM message"


class SpooledMessage(msgspec.Struct, frozen=True):
    """A committed message; ``content`` is the envelope's JSON."""

    sequence: int
    lane: Lane
    topic: str
    recorded_at_s: float
    content: bytes


class SpoolReader:
    """Answers what is in the spool; thread-safe.

    What cannot be read at this moment is answered as if it were not there: whoever sends
    asks again.

    Args:
        path: The file, which a `SpoolStore` has made.
        on_damage: Called with the error and the generation when the file turns out to be
            damaged.
    """

    def __init__(self, path: Path, on_damage: Callable[[sqlite3.DatabaseError, int], None]) -> None:
        self._path = path
        self._on_damage = on_damage
        self._reading = threading.Lock()
        self.generation = 1
        """Counts the files that were read; a damaged one is replaced by the next."""
        self._database = connect(path)

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self._database.close()

    def reopen(self) -> None:
        """Read the file that has taken the place of a damaged one."""
        with self._reading:
            self._database = connect(self._path)
            self.generation += 1

    def lane(self, lane: Lane, *, after: int, up_to: int, limit: int) -> list[SpooledMessage]:
        """Return the next messages of ``lane`` above ``after`` and not above ``up_to``."""
        rows = self._query(
            f"{_SELECT} WHERE lane = ? AND sequence > ? AND sequence <= ?"
            " ORDER BY sequence LIMIT ?",
            lane,
            after,
            up_to,
            limit,
        )
        return [SpooledMessage(*row) for row in rows]

    def oldest(self, limit: int, *, after: int) -> list[SpooledMessage]:
        """Return the messages with the lowest sequences above ``after``, of all lanes."""
        rows = self._query(f"{_SELECT} WHERE sequence > ? ORDER BY sequence LIMIT ?", after, limit)
        return [SpooledMessage(*row) for row in rows]

    def first_sequence(self) -> int:
        """Return the lowest sequence still held; 0 where the spool is empty."""
        rows = self._query("SELECT MIN(sequence) FROM message")
        return int(rows[0][0] or 0) if rows else 0

    def last_before(self, recorded_at_s: float) -> int:
        """Return the highest sequence recorded before that time; 0 for none."""
        rows = self._query(
            "SELECT sequence FROM message WHERE recorded_at_s < ? ORDER BY sequence DESC LIMIT 1",
            recorded_at_s,
        )
        return int(rows[0][0]) if rows else 0

    def _query(self, statement: str, *values: object) -> list[Any]:
        generation = 0
        try:
            with self._reading:
                generation = self.generation
                return self._database.execute(statement, values).fetchall()
        except sqlite3.ProgrammingError:
            pass  # closed while a damaged file is replaced
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                # Told without the lock, which the writer takes when it replaces the file.
                self._on_damage(error, generation)
            else:
                _LOG.warning("%s cannot be read now: %s", self._path, error)
        return []
