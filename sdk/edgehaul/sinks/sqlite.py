"""Messages in an SQLite file, ready to be queried."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from edgehaul.errors import DeliveryError
from edgehaul.sinks.base import DeclaredGap, StoredRun
from edgehaul.subscriber.client import ReceivedMessage

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
  id TEXT NOT NULL,
  source TEXT NOT NULL,
  epoch TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  type TEXT NOT NULL,
  subject TEXT NOT NULL,
  time TEXT NOT NULL,
  recordedtime TEXT NOT NULL,
  historical INTEGER NOT NULL,
  topic TEXT NOT NULL,
  data TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS messages_counted
  ON messages (source, epoch, sequence) WHERE sequence > 0;
CREATE UNIQUE INDEX IF NOT EXISTS messages_uncounted
  ON messages (source, id) WHERE sequence = 0;
CREATE INDEX IF NOT EXISTS messages_by_type ON messages (type, time);

CREATE VIEW IF NOT EXISTS detections AS
SELECT m.source, m.epoch, m.sequence, m.subject AS stream, m.time,
       json_extract(m.data, '$.frame') AS frame,
       json_extract(o.value, '$.label') AS label,
       json_extract(o.value, '$.score') AS score,
       json_extract(o.value, '$.track_id') AS track_id,
       json_extract(o.value, '$.box[0]') AS x1, json_extract(o.value, '$.box[1]') AS y1,
       json_extract(o.value, '$.box[2]') AS x2, json_extract(o.value, '$.box[3]') AS y2
FROM messages AS m, json_each(m.data, '$.objects') AS o
WHERE m.type = 'edgehaul.detections.v1';

CREATE VIEW IF NOT EXISTS counts AS
SELECT source, epoch, sequence, subject AS stream, time,
       json_extract(data, '$.event.line') AS line,
       json_extract(data, '$.event.direction') AS direction,
       json_extract(data, '$.event.label') AS label,
       json_extract(data, '$.event.track_id') AS track_id
FROM messages
WHERE type = 'edgehaul.event.v1' AND json_extract(data, '$.event.type') = 'count';

CREATE VIEW IF NOT EXISTS anomalies AS
SELECT source, epoch, sequence, subject AS stream, time,
       json_extract(data, '$.event.label') AS label,
       json_extract(data, '$.event.score') AS score,
       json_extract(data, '$.event.started_at') AS started_at,
       json_extract(data, '$.event.ended_at') AS ended_at,
       json_extract(data, '$.event.position.latitude_deg') AS latitude_deg,
       json_extract(data, '$.event.position.longitude_deg') AS longitude_deg
FROM messages
WHERE type = 'edgehaul.event.v1' AND json_extract(data, '$.event.type') = 'anomaly';
"""
_INSERT = "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# Numbers of one run have the same distance from their rank.
_RUNS = """
SELECT source, epoch, MIN(sequence), MAX(sequence) FROM (
  SELECT source, epoch, sequence,
         sequence - ROW_NUMBER() OVER (PARTITION BY source, epoch ORDER BY sequence) AS island
  FROM messages WHERE sequence > 0
) GROUP BY source, epoch, island
"""
_GAPS = """
SELECT source, epoch,
       CAST(json_extract(data, '$.first_sequence') AS INTEGER),
       CAST(json_extract(data, '$.last_sequence') AS INTEGER)
FROM messages WHERE type = 'edgehaul.gap.v1'
"""


class SqliteSink:
    """Stores messages in the table ``messages``, each counted message once.

    The views ``detections`` (a row for each object), ``counts`` and ``anomalies`` take the
    usual questions. The column ``data`` has the payload as it was sent, fields and kinds of a
    newer version among it.

    Args:
        path: The file; made where it is missing.

    Raises:
        DeliveryError: The file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
        except (OSError, sqlite3.Error) as error:
            raise self._failure("cannot be opened", error) from error
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._database.close()
            raise self._failure("cannot be used", error) from error

    def __enter__(self) -> Self:
        """Use in ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self.close()

    def write(self, batch: Sequence[ReceivedMessage]) -> int:
        """Store a batch in one durable transaction; see `Sink.write`."""
        before = self._database.total_changes
        try:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(_INSERT, map(_row, batch))
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise self._failure("cannot be written", error) from error
        return self._database.total_changes - before

    def stored(self) -> Iterator[StoredRun]:
        """Yield what is stored already; see `Sink.stored`."""
        try:
            for row in self._database.execute(_RUNS):
                yield StoredRun(*row)
            for row in self._database.execute(_GAPS):
                yield DeclaredGap(*row)
        except sqlite3.Error as error:
            raise self._failure("cannot be read", error) from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _failure(self, what: str, error: Exception) -> DeliveryError:
        return DeliveryError(
            f"the database {what}: {error}",
            where=self._path,
            remedy="check the path, its permissions and the free space on its disk",
        )


def _row(message: ReceivedMessage) -> tuple[object, ...]:
    envelope = message.envelope
    return (
        envelope.id,
        envelope.source,
        envelope.epoch,
        envelope.sequence,
        envelope.type,
        envelope.subject,
        envelope.time,
        envelope.recordedtime,
        envelope.historical,
        message.topic,
        message.data_json().decode(),
    )
