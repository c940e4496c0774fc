"""Where the results of one stream go."""

from __future__ import annotations

from typing import Protocol

from edgehaul.messages.envelope import Payload
from edgehaul.messages.payloads import (
    AnomalyEvent,
    DetectionsData,
    EventData,
    Lane,
    Placement,
    PositionData,
    ReadHappening,
)
from edgehaul.messages.topics import DeviceTopics
from edgehaul.motion.whereabouts import Locator
from edgehaul.values import Fix


class Outbox(Protocol):
    """Takes messages and sees to it that they arrive; the spool is one."""

    def put(
        self,
        payload: Payload,
        *,
        topic: str,
        lane: Lane,
        captured_at_s: float,
        subject: str = "",
    ) -> None:
        """Take a message; waits while there is no room.

        Raises:
            SpoolError: It cannot be taken.
        """
        ...


class StreamOutlet:
    """Puts the results of one stream under their topics and into their lanes.

    Args:
        outbox: Takes the messages.
        topics: The device's topics.
        stream: Name of the stream.
        locator: Tells where the device was at an event's capture time, for streams that do not
            know it themselves.
    """

    def __init__(
        self, outbox: Outbox, topics: DeviceTopics, stream: str, locator: Locator | None = None
    ) -> None:
        self._outbox = outbox
        self._topics = topics
        self._stream = stream
        self._locator = locator

    def detections(self, data: DetectionsData, *, captured_at_s: float) -> None:
        """Tell what one frame shows."""
        self._put(data, self._topics.detections(self._stream), "telemetry", captured_at_s)

    def event(
        self,
        event: ReadHappening,
        *,
        captured_at_s: float,
        position: Fix | None = None,
        snapshot: str = "",
        clip: str = "",
    ) -> None:
        """Tell that something happened; anomalies are alarms."""
        lane: Lane = "alarm" if isinstance(event, AnomalyEvent) else "event"
        placement: Placement | None = None
        # By what is known now: the fix that follows may not have come yet.
        if self._locator is not None and (where := self._locator.at(captured_at_s)) is not None:
            position, placement = where.fix, where.placement
        data = EventData(
            event=event, position=position, placement=placement, snapshot=snapshot, clip=clip
        )
        self._put(data, self._topics.events(self._stream), lane, captured_at_s)

    def position(self, data: PositionData, *, captured_at_s: float) -> None:
        """Tell where the device was."""
        self._put(data, self._topics.positions(self._stream), "telemetry", captured_at_s)

    def _put(self, payload: Payload, topic: str, lane: Lane, captured_at_s: float) -> None:
        self._outbox.put(
            payload, topic=topic, lane=lane, captured_at_s=captured_at_s, subject=self._stream
        )
