"""Messages to bytes and back: strict where we write, tolerant of what is new where we read."""

from __future__ import annotations

import re
import uuid
from typing import Any, get_args

import msgspec

from edgehaul.clock import format_utc
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import MessageError
from edgehaul.messages.envelope import ClockQuality, Envelope, Payload
from edgehaul.messages.payloads import EventData, Happening
from edgehaul.messages.topics import DeviceTopics
from edgehaul.messages.unknown import UnknownData, UnknownEvent

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)
_KNOWN_VERSION = re.compile(r"edgehaul\.\w+\.v1")
_PAYLOADS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Payload))
_EVENTS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Happening))

_SOME_DATA = {"kind": "command_result", "ok": True}
"""Stands in for a payload that cannot be read while the rest of the message is."""
_SOME_EVENT = {"type": "occupancy", "zone": "", "count": 0}
"""The same for an event."""


def type_of(payload: Payload) -> str:
    """Return the ``type`` attribute for a payload, such as ``edgehaul.detections.v1``."""
    return f"edgehaul.{payload.__struct_config__.tag}.v1"


def uncounted(
    payload: Payload,
    *,
    topics: DeviceTopics,
    captured_at_s: float,
    subject: str = "",
    clockquality: ClockQuality = "unsynchronized",
) -> Envelope:
    """Wrap a payload that is not numbered by a spool (``state``, ``ack``, commands)."""
    return Envelope(
        id=uuid.uuid4().hex,
        source=topics.source,
        type=type_of(payload),
        time=format_utc(captured_at_s),
        subject=subject,
        data=payload,
        clockquality=clockquality,
    )


def encode(envelope: Envelope) -> bytes:
    """Return the message as JSON.

    Raises:
        MessageError: It is of a kind that this version does not know: pass on the bytes as they
            came instead.
    """
    data = envelope.data
    if isinstance(data, EventData) and isinstance(data.event, UnknownEvent):
        raise _unwritable(data.event.kind)
    if isinstance(data, UnknownData):
        raise _unwritable(data.kind)
    return _ENCODER.encode(envelope)


def decode(content: bytes, *, where: str = "") -> Envelope:
    """Read a message.

    A payload or an event of a kind that this version does not know, in a message of a contract
    that it knows, is given as `UnknownData` or `UnknownEvent`. Unknown fields are left out.

    Args:
        content: The MQTT payload.
        where: The topic, for the error.

    Raises:
        MessageError: It is not JSON, or breaks the contract.
    """
    try:
        try:
            return _DECODER.decode(content)
        except msgspec.ValidationError as error:
            return _of_unknown_kind(content, error)
    except UNREADABLE_JSON as error:
        raise MessageError(
            f"not an EdgeHaul message: {error}",
            where=where,
            remedy="check that the sender speaks edgehaul/v1",
        ) from error


def _of_unknown_kind(content: bytes, error: msgspec.ValidationError) -> Envelope:
    """Return a message whose payload or event is newer than this version.

    Raises:
        msgspec.ValidationError: ``error``, if its kinds are known; or another one, of the rest.
    """
    message = msgspec.json.decode(content)
    data = message.get("data") if isinstance(message, dict) else None
    if not isinstance(data, dict) or not _KNOWN_VERSION.fullmatch(str(message.get("type"))):
        raise error
    kind = data.get("kind")
    event = data.get("event") if kind == "event" else None
    if isinstance(kind, str) and kind not in _PAYLOADS:
        known = msgspec.convert({**message, "data": _SOME_DATA}, Envelope)
        return msgspec.structs.replace(
            known, data=UnknownData(kind=kind, fields=_without(data, "kind"))
        )
    if isinstance(event, dict) and isinstance(event.get("type"), str):
        if event["type"] in _EVENTS:
            raise error
        unknown = UnknownEvent(kind=event["type"], fields=_without(event, "type"))
        some = {**data, "event": _SOME_EVENT}
        known = msgspec.convert({**message, "data": some}, Envelope)
        return msgspec.structs.replace(
            known, data=msgspec.structs.replace(known.data, event=unknown)
        )
    raise error


def _without(fields: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != key}


def _unwritable(kind: str) -> MessageError:
    return MessageError(
        f"{kind!r} is no kind that this version can write",
        remedy="pass the message on as it came, or update",
    )
