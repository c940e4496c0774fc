"""Messages to bytes and back."""

from __future__ import annotations

import uuid

import msgspec

from edgehaul.clock import format_utc
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import MessageError
from edgehaul.messages.envelope import ClockQuality, Envelope, Payload
from edgehaul.messages.topics import DeviceTopics

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)


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
    """Return the message as JSON."""
    return _ENCODER.encode(envelope)


def decode(content: bytes, *, where: str = "") -> Envelope:
    """Read a message.

    Args:
        content: The MQTT payload.
        where: The topic, for the error.

    Raises:
        MessageError: It is not JSON, or breaks the contract.
    """
    try:
        return _DECODER.decode(content)
    except UNREADABLE_JSON as error:
        raise MessageError(
            f"not an EdgeHaul message: {error}",
            where=where,
            remedy="check that the sender speaks edgehaul/v1",
        ) from error
