"""The generated schemas are fresh, and describe the messages that are really sent."""

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from edgehaul.geometry import Box, Point
from edgehaul.messages import codec, health, payloads, vehicle
from edgehaul.messages.asyncapi import CHANNELS
from edgehaul.messages.envelope import Payload
from edgehaul.messages.schema import main, message_schemas, stale_files
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Fix

TOPICS = DeviceTopics("depot-7", "belt-1")
FIX = Fix(captured_at_s=1.5, latitude_deg=53.4, longitude_deg=-2.98, speed_mps=8.3)
PARCEL = payloads.DetectedObject(label="parcel", score=0.9, box=Box(1, 2, 30, 40), track_id=7)

EXAMPLES: list[Payload] = [
    payloads.StateData(status="offline"),
    payloads.StateData(
        status="online",
        epoch="a1",
        acknowledge="collector",
        models=(payloads.ModelState(name="parcels", version="1.0.0", variant="int8"),),
        streams=("belt",),
    ),
    payloads.DetectionsData(frame=3, width=640, height=480, objects=(PARCEL,), latency_ms=4.5),
    payloads.DetectionsData(frame=4, width=640, height=480, objects=()),
    payloads.EventData(
        event=payloads.TrackEvent(phase="update", track_id=7, before=PARCEL, after=PARCEL)
    ),
    payloads.EventData(
        event=payloads.CountEvent(
            line="out",
            direction="forward",
            label="parcel",
            track_id=7,
            at=Point(320, 200),
            totals={"forward/parcel": 1},
        ),
        position=FIX,
    ),
    payloads.EventData(
        event=payloads.AnomalyEvent(
            label="harsh_braking",
            score=0.8,
            started_at="2026-01-31T12:00:00.000Z",
            ended_at="2026-01-31T12:00:04.000Z",
            position=FIX,
        )
    ),
    payloads.EventData(
        event=vehicle.TripEvent(
            phase="end",
            started_at="2026-01-31T12:00:00.000Z",
            ended_at="2026-01-31T13:00:00.000Z",
            distance_m=41_200.5,
            ended_by="stop",
        ),
        position=FIX,
    ),
    payloads.EventData(
        event=vehicle.GeofenceEvent(fence="yard", phase="dwell", inside_s=600.0), position=FIX
    ),
    payloads.EventData(
        event=vehicle.RouteEvent(
            route="ring",
            phase="deviated",
            started_at="2026-01-31T12:00:00.000Z",
            distance_m=350.0,
        ),
        position=FIX,
    ),
    payloads.EventData(
        event=vehicle.DrivingEvent(
            manoeuvre="harsh_braking",
            phase="end",
            started_at="2026-01-31T12:00:00.000Z",
            peak_at="2026-01-31T12:00:01.000Z",
            ended_at="2026-01-31T12:00:02.000Z",
            acceleration_mps2=-4.4,
        ),
        position=FIX,
        placement=payloads.Placement(source="interpolated", uncertainty_m=4.2, age_s=0.4),
    ),
    payloads.PositionData(fix=FIX, valid=False),
    payloads.HealthData(
        uptime_s=60.0, rss_mb=180.0, streams={"belt": health.StreamHealth(frames=900)}
    ),
    payloads.UpdateData(name="parcels", version="1.0.0", phase="installed"),
    payloads.GapData(first_sequence=5, last_sequence=9, lane="media", reason="quota"),
    payloads.AckData(epoch="a1", sequence=42, collector="depot"),
    payloads.CommandData(command="status"),
    payloads.CommandResultData(ok=True),
]


def sent(payload: Payload) -> dict[str, object]:
    envelope = codec.uncounted(payload, topics=TOPICS, captured_at_s=1.5)
    content: dict[str, object] = json.loads(codec.encode(envelope))
    return content


def kind_of(payload: Payload) -> str:
    return str(payload.__struct_config__.tag)


def test_the_committed_contract_is_what_the_types_give(repository: Path) -> None:
    stale = stale_files(repository / "docs" / "contract")
    assert not stale, "run: python -m edgehaul.messages.schema docs/contract"


def test_there_is_an_example_of_every_kind() -> None:
    assert {kind_of(example) for example in EXAMPLES} == set(message_schemas())


@pytest.mark.parametrize("payload", EXAMPLES, ids=kind_of)
def test_a_real_message_fits_its_schema(payload: Payload) -> None:
    schema = message_schemas()[kind_of(payload)]
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(sent(payload), schema, cls=jsonschema.Draft7Validator)


@pytest.mark.parametrize("payload", EXAMPLES, ids=kind_of)
def test_a_message_fits_no_schema_but_its_own(payload: Payload) -> None:
    message = sent(payload)
    for kind, schema in message_schemas().items():
        if kind != kind_of(payload):
            assert not jsonschema.Draft7Validator(schema).is_valid(message), kind


def test_a_reader_takes_fields_it_does_not_know() -> None:
    message = sent(EXAMPLES[0]) | {"traceparent": "00-ab"}
    jsonschema.validate(message, message_schemas()["state"])


def test_the_asyncapi_document_refers_only_to_what_it_holds(repository: Path) -> None:
    text = (repository / "docs/contract/asyncapi.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    references = set(_references(document))
    assert references
    for reference in references:
        value = document
        for part in reference.removeprefix("#/").split("/"):
            value = value[part]


def _references(value: object) -> list[str]:
    if isinstance(value, list):
        return [r for item in value for r in _references(item)]
    if not isinstance(value, dict):
        return []
    own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
    return own + [r for item in value.values() for r in _references(item)]


def test_the_addresses_are_the_topics_the_device_uses() -> None:
    used = {
        TOPICS.state: "state",
        TOPICS.detections("belt"): "detections",
        TOPICS.events("belt"): "events",
        TOPICS.positions("belt"): "positions",
        TOPICS.health: "health",
        TOPICS.update: "update",
        TOPICS.gap: "gap",
        TOPICS.ack: "ack",
        TOPICS.commands.replace("#", "c1"): "command",
        TOPICS.commands.replace("#", "c1/result"): "commandResult",
    }
    addresses = {
        f"{TOPICS.prefix}/{c.address}".format(stream="belt", command="c1"): name
        for name, c in CHANNELS.items()
    }
    assert addresses == used


def test_check_names_the_stale_file_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "schemas" / "ack.json").write_text("{}", encoding="utf-8")
    assert main([str(tmp_path), "--check"]) == 1
    error = capsys.readouterr().err
    assert "ack.json" in error
    assert "python -m edgehaul.messages.schema" in error


def test_who_knows_no_placement_reads_the_position_and_the_other_way_round() -> None:
    class OldEventData(msgspec.Struct, tag_field="kind", tag="event"):
        event: payloads.CountEvent
        position: Fix | None = None

    event = next(e for e in EXAMPLES if isinstance(e, payloads.EventData) and e.position)
    placement = payloads.Placement(source="extrapolated", uncertainty_m=9.0)
    new = msgspec.structs.replace(event, placement=placement)
    old = msgspec.json.decode(msgspec.json.encode(new), type=OldEventData)
    assert old.position == new.position
    assert msgspec.json.decode(msgspec.json.encode(old), type=payloads.EventData) == event
