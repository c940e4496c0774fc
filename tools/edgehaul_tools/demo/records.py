"""Read back what the collector stored, as the demo's report needs it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from edgehaul.clock import parse_utc
from edgehaul.messages.payloads import (
    AnomalyEvent,
    CountEvent,
    DetectionsData,
    EventData,
    PositionData,
)
from edgehaul.values import Fix
from edgehaul_tools.demo.result import Span


class Records:
    """The collected messages of one run.

    Args:
        database: SQLite file of the collector.
    """

    def __init__(self, database: Path) -> None:
        self._database = database

    def detections(self, stream: str) -> tuple[DetectionsData, ...]:
        """Return the detections of a stream, frame by frame."""
        rows = (
            msgspec.json.decode(data, type=DetectionsData)
            for data in self._data("edgehaul.detections.v1", stream)
        )
        return tuple(sorted(rows, key=lambda data: data.frame))

    def counts(self, stream: str, line: str) -> dict[str, int]:
        """Return the forward crossings of a line less the backward ones, by label."""
        counts: Counter[str] = Counter()
        for event in self._events(stream):
            if isinstance(event, CountEvent) and event.line == line:
                counts[event.label] += 1 if event.direction == "forward" else -1
        return dict(counts)

    def anomalies(self, stream: str) -> tuple[Span, ...]:
        """Return the reported anomalies of a stream, in order of time."""
        spans = (
            Span(event.label, parse_utc(event.started_at), parse_utc(event.ended_at))
            for event in self._events(stream)
            if isinstance(event, AnomalyEvent)
        )
        return tuple(sorted(spans, key=lambda span: span.started_at_s))

    def fixes(self, stream: str) -> tuple[Fix, ...]:
        """Return the published positions of a stream, in order of time."""
        rows = (
            msgspec.json.decode(data, type=PositionData).fix
            for data in self._data("edgehaul.position.v1", stream)
        )
        return tuple(sorted(rows, key=lambda fix: fix.captured_at_s))

    def by_type(self) -> dict[str, int]:
        """Return the number of counted messages by type."""
        query = "SELECT type, COUNT(*) FROM messages WHERE sequence > 0 GROUP BY type"
        with closing(sqlite3.connect(self._database)) as connection:
            return dict(connection.execute(query).fetchall())

    def _events(self, stream: str) -> Iterator[object]:
        for data in self._data("edgehaul.event.v1", stream):
            yield msgspec.json.decode(data, type=EventData).event

    def _data(self, kind: str, stream: str) -> list[str]:
        query = "SELECT data FROM messages WHERE type = ? AND subject = ? ORDER BY sequence"
        with closing(sqlite3.connect(self._database)) as connection:
            return [data for (data,) in connection.execute(query, (kind, stream))]
