"""The envelope around every message, with the attribute names of CloudEvents 1.0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from edgehaul.messages.payloads import (
    AckData,
    CommandData,
    CommandResultData,
    DetectionsData,
    EventData,
    GapData,
    HealthData,
    PositionData,
    SequenceNumber,
    StateData,
    UpdateData,
)
from edgehaul.messages.unknown import UnknownData

ClockQuality = Literal["synchronized", "holdover", "unsynchronized"]

Payload = (
    StateData
    | DetectionsData
    | EventData
    | PositionData
    | HealthData
    | UpdateData
    | GapData
    | AckData
    | CommandData
    | CommandResultData
)
"""All that is written."""

if TYPE_CHECKING:
    ReadPayload = Payload | UnknownData
    """What a reader may meet."""
else:
    ReadPayload = Payload


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One message. Names follow CloudEvents 1.0 (github.com/cloudevents/spec), JSON form.

    Attributes:
        specversion: Version of CloudEvents.
        id: Unique for its source: ``{epoch}-{sequence}`` where the message is sequenced.
        source: ``edgehaul/{site}/{device}`` of the sender.
        type: Kind of payload, ``edgehaul.{kind}.v1``; the payload's own ``kind`` decides.
        time: Capture time of what is reported, RFC 3339 in UTC.
        subject: Stream (or model, or command) that it is about.
        data: The payload; readers may meet kinds that they do not know.
        sequence: Number of the message within its epoch, from 1 without holes; 0 for
            messages that are not counted (``state``, ``ack``, ``command``).
        epoch: Identity of the spool that numbered it; a new one starts at sequence 1.
        recordedtime: When the message was written to the spool, RFC 3339 in UTC.
        historical: Whether it was sent from the backlog, not live.
        clockquality: How far the device trusted its clock.
    """

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    time: str
    subject: str = ""
    data: ReadPayload
    sequence: SequenceNumber = 0
    epoch: str = ""
    recordedtime: str = ""
    historical: bool = False
    clockquality: ClockQuality = "unsynchronized"
