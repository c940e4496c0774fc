"""Store what devices publish, and tell them what is stored.

The order is what makes it lossless: a batch is committed by the sink, then entered in the
ledger, then acknowledged. A collector that dies between the first and the last of these is
sent the same messages again, and the sink knows them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from edgehaul.clock import Clock, SystemClock
from edgehaul.errors import MessageError
from edgehaul.messages.codec import encode, uncounted
from edgehaul.messages.envelope import Envelope
from edgehaul.messages.payloads import AckData, GapData, StateData
from edgehaul.messages.topics import DeviceTopics, parse_topic, topic_filter
from edgehaul.sinks.base import DeclaredGap, Sink
from edgehaul.subscriber.client import ReceivedMessage, Subscriber
from edgehaul.subscriber.ordering import SequenceLedger

_LOG = logging.getLogger(__name__)
_CHANNELS = ("state", "detections/#", "events/#", "positions/#", "health", "update", "gap")


def collected_topics(site: str = "+", device: str = "+") -> list[str]:
    """Return the filters of all that devices report (not of what they are told)."""
    return [topic_filter(site, device, channel) for channel in _CHANNELS]


class Collector:
    """Moves messages from a subscriber into a sink, and acknowledges them.

    Args:
        subscriber: An open subscriber to `collected_topics`.
        sink: Where to store.
        name: Tells collectors apart in their receipts.
        batch_rows: Most messages stored together.
        batch_s: Longest time a message waits for others to be stored with.
        clock: Measures the waiting times.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        sink: Sink,
        *,
        name: str = "collector",
        batch_rows: int = 500,
        batch_s: float = 0.1,
        clock: Clock | None = None,
    ) -> None:
        self._subscriber = subscriber
        self._sink = sink
        self._name = name
        self._batch_rows = batch_rows
        self._batch_s = batch_s
        self._clock = clock or SystemClock()
        self.ledger = SequenceLedger()
        self.stored = 0
        """Messages newly stored in this run, counted and uncounted ones."""
        for run in sink.stored():
            if isinstance(run, DeclaredGap):
                self.ledger.declare_gap(run.source, run.epoch, run.first, run.last)
            else:
                self.ledger.restore(run.source, run.epoch, run.first, run.last)

    def step(self, timeout_s: float) -> int:
        """Store and acknowledge one batch.

        Args:
            timeout_s: How long to wait for its first message.

        Returns:
            The number of messages in the batch; 0 where none came in time.

        Raises:
            DeliveryError: The sink cannot store; nothing of the batch is acknowledged.
        """
        batch = self._take(timeout_s)
        if batch:
            self.stored += self._sink.write(batch)
            self._enter(batch)
        return len(batch)

    def _take(self, timeout_s: float) -> list[ReceivedMessage]:
        batch: list[ReceivedMessage] = []
        first = self._subscriber.receive(timeout_s)
        deadline_s = self._clock.monotonic_s() + self._batch_s
        message = first
        while message is not None:
            batch.append(message)
            left_s = deadline_s - self._clock.monotonic_s()
            if len(batch) >= self._batch_rows or left_s <= 0:
                break
            message = self._subscriber.receive(left_s)
        return batch

    def _enter(self, batch: Sequence[ReceivedMessage]) -> None:
        touched: dict[tuple[str, str], DeviceTopics] = {}
        for message in batch:
            envelope = message.envelope
            try:
                topics = parse_topic(message.topic).topics
            except MessageError as error:
                _LOG.warning("stored, but not acknowledged: %s", error)
                continue
            epoch = self._enter_one(envelope, is_live=not message.retained)
            if epoch:
                touched[envelope.source, epoch] = topics
        for (source, epoch), topics in touched.items():
            self._acknowledge(source, epoch, topics)

    def _enter_one(self, envelope: Envelope, *, is_live: bool) -> str:
        """Enter a message in the ledger; return the epoch to acknowledge, or nothing."""
        source, data = envelope.source, envelope.data
        if isinstance(data, StateData):
            if data.epoch and data.first_pending:
                self.ledger.device_holds_from(
                    source, data.epoch, data.first_pending, is_live=is_live
                )
            # Answered too: it tells a device that has nothing to send that we are here.
            return data.epoch
        if envelope.sequence:
            self.ledger.record(source, envelope.epoch, envelope.sequence)
            if isinstance(data, GapData):
                self.ledger.declare_gap(
                    source, envelope.epoch, data.first_sequence, data.last_sequence
                )
        return envelope.epoch

    def _acknowledge(self, source: str, epoch: str, topics: DeviceTopics) -> None:
        sequence = self.ledger.contiguous(source, epoch)
        receipt = uncounted(
            AckData(epoch=epoch, sequence=sequence, collector=self._name),
            topics=topics,
            captured_at_s=self._clock.now_s(),
            subject=self._name,
        )
        if not self._subscriber.publish(topics.ack, encode(receipt), retain=True):
            _LOG.info("receipt for %s waits for the broker", source)
