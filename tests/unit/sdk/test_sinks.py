"""Both sinks: everything once, nothing half, and known again after a restart."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgehaul.errors import DeliveryError
from edgehaul.geometry import Box, Point
from edgehaul.messages.codec import encode, uncounted
from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import (
    AnomalyEvent,
    CountEvent,
    DetectedObject,
    DetectionsData,
    EventData,
    GapData,
    StateData,
)
from edgehaul.sinks.base import DeclaredGap, Sink, StoredRun
from edgehaul.sinks.jsonl import JsonlSink
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import ReceivedMessage
from tests.fakes.delivery import TOPICS, stored_message

SINKS = pytest.mark.parametrize("make", [SqliteSink, JsonlSink])
MakeSink = Callable[[Path], Sink]


def carrying(payload: Payload, sequence: int) -> ReceivedMessage:
    message = stored_message(sequence)
    kind = f"edgehaul.{payload.__struct_config__.tag}.v1"
    envelope = msgspec.structs.replace(message.envelope, data=payload, type=kind)
    return msgspec.structs.replace(message, envelope=envelope, content=encode(envelope))


def state_message() -> ReceivedMessage:
    envelope = uncounted(StateData(status="online"), topics=TOPICS, captured_at_s=0.0)
    return ReceivedMessage(TOPICS.state, envelope, encode(envelope), retained=True)


@SINKS
def test_a_message_is_stored_once_however_often_it_comes(make: MakeSink, tmp_path: Path) -> None:
    path = tmp_path / "new" / "store"
    state = state_message()
    sink = make(path)
    assert sink.write([stored_message(1), stored_message(2), state]) == 3
    assert sink.write([stored_message(2), stored_message(4), stored_message(4), state]) == 1
    sink.close()
    sink = make(path)
    assert sink.write([stored_message(1), stored_message(4), state]) == 0
    assert sink.write([stored_message(1, epoch="e2")]) == 1
    source = TOPICS.source
    assert set(sink.stored()) == {
        StoredRun(source, "e1", 1, 2),
        StoredRun(source, "e1", 4, 4),
        StoredRun(source, "e2", 1, 1),
    }
    sink.close()


@SINKS
def test_declared_gaps_are_known_after_a_restart(make: MakeSink, tmp_path: Path) -> None:
    gap = GapData(first_sequence=1, last_sequence=6, lane="telemetry", reason="quota")
    sink = make(tmp_path / "store")
    sink.write([carrying(gap, 7)])
    sink.close()
    sink = make(tmp_path / "store")
    assert list(sink.stored()) == [
        StoredRun(TOPICS.source, "e1", 7, 7),
        DeclaredGap(TOPICS.source, "e1", 1, 6),
    ]
    sink.close()


@SINKS
@pytest.mark.parametrize("content", [b"neither a database nor lines\n" * 200, None])
def test_a_place_that_cannot_be_used_is_one_clear_error(
    make: MakeSink, content: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "store"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(DeliveryError, match=r"store(:1)?: .*; "):
        make(path)


def test_the_views_answer_the_usual_questions(tmp_path: Path) -> None:
    seen = DetectedObject(label="parcel", score=0.9, box=Box(1, 2, 3, 4), track_id=7)
    count = CountEvent(
        line="gate", direction="forward", label="parcel", track_id=7, at=Point(5, 6), totals={}
    )
    anomaly = AnomalyEvent(label="harsh_braking", score=0.8, started_at="a", ended_at="b")
    with SqliteSink(tmp_path / "store.db") as sink:
        sink.write(
            [
                carrying(DetectionsData(frame=3, width=9, height=9, objects=(seen, seen)), 1),
                carrying(EventData(event=count), 2),
                carrying(EventData(event=anomaly), 3),
            ]
        )
    database = sqlite3.connect(tmp_path / "store.db")
    try:
        assert (
            database.execute(
                "SELECT stream, frame, label, score, track_id, x1, y1, x2, y2 FROM detections"
            ).fetchall()
            == [("cam", 3, "parcel", 0.9, 7, 1.0, 2.0, 3.0, 4.0)] * 2
        )
        assert database.execute(
            "SELECT line, direction, label, track_id FROM counts"
        ).fetchall() == [("gate", "forward", "parcel", 7)]
        assert database.execute(
            "SELECT label, score, started_at, latitude_deg FROM anomalies"
        ).fetchall() == [("harsh_braking", 0.8, "a", None)]
    finally:
        database.close()


def test_a_line_that_was_cut_off_is_removed_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "store.jsonl"
    with JsonlSink(path) as sink:
        sink.write([stored_message(1), stored_message(2)])
    path.write_bytes(path.read_bytes()[:-20])
    with JsonlSink(path) as sink:
        assert list(sink.stored()) == [StoredRun(TOPICS.source, "e1", 1, 1)]
        assert sink.write([stored_message(1), stored_message(2)]) == 1
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["message"]["sequence"] for line in lines] == [1, 2]
    assert lines[0]["topic"] == TOPICS.detections("cam")


@pytest.mark.parametrize("content", [b"\xff" * 5000, b"notes without an end", b"{}"])
def test_a_file_of_another_kind_is_refused_and_left_as_it_is(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(DeliveryError, match=r"notes:1: this line is no stored message"):
        JsonlSink(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("torn", [b'{"to', b'{"topic":"edgehaul/v1/s\0\0', b"\0\0\0"])
def test_the_torn_end_after_a_power_cut_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "store.jsonl"
    path.write_bytes(torn)
    JsonlSink(path).close()
    assert path.read_bytes() == b""
