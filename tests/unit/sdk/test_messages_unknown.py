"""Kinds and fields that are newer than the reader: delivered whole; what is wrong stays refused."""

import sqlite3
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.errors import MessageError
from edgehaul.messages.codec import decode, encode, type_of, uncounted
from edgehaul.messages.envelope import Envelope, Payload
from edgehaul.messages.payloads import EventData, Happening, Placement
from edgehaul.messages.unknown import UnknownData, UnknownEvent
from edgehaul.messages.vehicle import GeofenceEvent
from edgehaul.messages.zone_events import OccupancyEvent
from edgehaul.sinks.base import Sink
from edgehaul.sinks.jsonl import JsonlSink
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import ReceivedMessage
from edgehaul.values import Fix
from tests.fakes.delivery import TOPICS

EVENTS = frozenset(kind.__struct_config__.tag for kind in get_args(Happening))
PAYLOADS = frozenset(kind.__struct_config__.tag for kind in get_args(Payload))
PLACE = Fix(captured_at_s=1.5, latitude_deg=53.4, longitude_deg=-2.98)
PLACEMENT = Placement(source="interpolated", uncertainty_m=4.5, age_s=0.5)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.dictionaries(st.text().filter(lambda name: name not in {"type", "kind"}), JSON)
EVENT_KINDS = st.text().filter(lambda kind: kind not in EVENTS)
PAYLOAD_KINDS = st.text().filter(lambda kind: kind not in PAYLOADS)


def message(payload: Payload, **changes: object) -> dict[str, Any]:
    envelope = uncounted(payload, topics=TOPICS, captured_at_s=1.5)
    plain: dict[str, Any] = msgspec.json.decode(encode(envelope))
    return {**plain, "sequence": 7, "epoch": "e1", **changes}


def event_message(event: dict[str, Any], **changes: object) -> dict[str, Any]:
    seen = EventData(
        event=OccupancyEvent(zone="", count=0),
        position=PLACE,
        placement=PLACEMENT,
        snapshot="media/1.jpg",
    )
    plain = message(seen)
    return {**plain, "data": {**plain["data"], "event": event, **changes}}


def written(content: dict[str, Any]) -> bytes:
    return msgspec.json.encode(content)


@given(kind=EVENT_KINDS, fields=FIELDS)
def test_an_unknown_event_is_delivered_with_all_its_fields(
    kind: str, fields: dict[str, Any]
) -> None:
    envelope = decode(written(event_message({**fields, "type": kind})))
    assert isinstance(envelope.data, EventData)
    assert envelope.data == EventData(
        event=UnknownEvent(kind=kind, fields=fields),
        position=PLACE,
        placement=PLACEMENT,
        snapshot="media/1.jpg",
    )
    assert (envelope.sequence, envelope.epoch) == (7, "e1")


@given(kind=PAYLOAD_KINDS, fields=FIELDS)
def test_an_unknown_payload_is_delivered_with_all_its_fields(
    kind: str, fields: dict[str, Any]
) -> None:
    sent = message(OCCUPANCY, type="edgehaul.weighing.v1", data={**fields, "kind": kind})
    envelope = decode(written(sent))
    assert envelope.data == UnknownData(kind=kind, fields=fields)
    assert (envelope.type, envelope.sequence) == ("edgehaul.weighing.v1", 7)


OCCUPANCY = EventData(event=OccupancyEvent(zone="yard", count=3))


@given(fields=FIELDS.map(lambda fields: {f"x-{name}": value for name, value in fields.items()}))
def test_unknown_fields_change_nothing(fields: dict[str, Any]) -> None:
    plain = message(OCCUPANCY)
    data = {**fields, **plain["data"], "event": {**fields, **plain["data"]["event"]}}
    grown = {**fields, **plain, "data": data}
    assert decode(written(grown)) == decode(written(plain))


@given(zone=st.text(), count=st.integers(0, 2**31), fence=st.text())
def test_what_we_know_comes_back_as_it_was(zone: str, count: int, fence: str) -> None:
    for event in (
        OccupancyEvent(zone=zone, count=count),
        GeofenceEvent(fence=fence, phase="dwell", inside_s=count / 7),
    ):
        payload = EventData(event=event, position=PLACE)
        envelope = uncounted(payload, topics=TOPICS, captured_at_s=0.0)
        assert decode(encode(envelope)) == envelope


@pytest.mark.parametrize(
    "content",
    [
        event_message({"type": "occupancy", "zone": "yard", "count": "many"}),
        event_message({"type": "trip", "phase": "paused", "started_at": ""}),
        event_message({"zone": "yard"}),
        event_message({"type": 7}),
        event_message({"type": "weighing"}, position={"latitude_deg": "north"}),
        event_message({"type": "weighing"}, snapshot=3),
        {**event_message({"type": "weighing"}), "sequence": -1},
        {**event_message({"type": "weighing"}), "time": None},
        {**event_message({"type": "weighing"}), "specversion": "2.0"},
        {**event_message({"type": "weighing"}), "type": "edgehaul.event.v2"},
        {**event_message({"type": "weighing"}), "data": ["weighing"]},
        {**event_message({"type": "weighing"}), "data": {"kind": None}},
        {**event_message({"type": "weighing"}), "data": {}},
        message(OCCUPANCY, type="com.example.weighing", data={"kind": "weighing"}),
    ],
)
def test_what_is_wrong_is_refused_as_before(content: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="t: not an EdgeHaul message"):
        decode(written(content), where="t")


@pytest.mark.parametrize(
    "content",
    [
        event_message({"type": "weighing", "mass_kg": 81.5}),
        message(OCCUPANCY, type="edgehaul.weighing.v1", data={"kind": "weighing"}),
    ],
)
def test_what_is_not_known_is_not_written(content: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match="'weighing' is no kind that this version can write"):
        encode(decode(written(content)))


def received(content: dict[str, Any]) -> ReceivedMessage:
    sent = written(content)
    return ReceivedMessage(TOPICS.events("cam"), decode(sent), sent, retained=False)


NEWER = [
    event_message({"type": "weighing", "mass_kg": 81.5, "by": {"scale": ["a", 1]}}),
    message(OCCUPANCY, sequence=8, type="edgehaul.weighing.v1", data={"kind": "weighing", "n": 2}),
    message(OCCUPANCY, sequence=9, data={**message(OCCUPANCY)["data"], "mood": "calm"}),
]


@pytest.mark.parametrize("make", [SqliteSink, JsonlSink])
def test_a_store_loses_nothing_of_it(make: type[SqliteSink | JsonlSink], tmp_path: Path) -> None:
    path = tmp_path / "store"
    for expected in (3, 0):  # the second time it is opened anew, and knows them all
        sink: Sink = make(path)
        assert sink.write([received(content) for content in NEWER]) == expected
        sink.close()
    if make is SqliteSink:
        database = sqlite3.connect(path)
        rows = database.execute("SELECT data FROM messages ORDER BY sequence").fetchall()
        database.close()
        assert [msgspec.json.decode(row[0]) for row in rows] == [m["data"] for m in NEWER]
    else:
        lines = path.read_bytes().splitlines()
        assert [msgspec.json.decode(line)["message"] for line in lines] == NEWER


def test_a_store_takes_numbers_that_nothing_can_hold(tmp_path: Path) -> None:
    sent = written(message(OCCUPANCY)).replace(b'"count":3', b'"count":3,"mass_kg":1e999')
    message_ = ReceivedMessage(TOPICS.events("cam"), decode(sent), sent, retained=False)
    sink = SqliteSink(tmp_path / "store")
    assert sink.write([message_]) == 1
    sink.close()


def test_kinds_of_payloads_and_events_are_told_apart() -> None:
    assert type_of(OCCUPANCY) == "edgehaul.event.v1"
    assert isinstance(decode(written(NEWER[0])), Envelope)
    assert "event" in PAYLOADS
    assert "occupancy" in EVENTS
