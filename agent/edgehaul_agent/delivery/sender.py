"""What to send next over one connection, and whose receipt counts.

A PUBACK is no delivery receipt: a broker that dies loses messages it has acknowledged. With
a collector present a message is therefore kept until the collector's own receipt (``ack``)
covers it. Live messages go first; the backlog follows behind a rate limit, and only while a
collector is *heard*: as long as it is not, the oldest few messages are sent again at growing
intervals to find out whether it is back.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, Protocol

from edgehaul.clock import Clock
from edgehaul.config.device import MqttSection
from edgehaul.errors import MessageError
from edgehaul.messages.codec import decode
from edgehaul.messages.payloads import AckData, AcknowledgeMode
from edgehaul.messages.topics import DeviceTopics
from edgehaul.mqtt import Published, Received
from edgehaul_agent.delivery.lanes import LANES, LaneCursors
from edgehaul_agent.delivery.reader import SpooledMessage
from edgehaul_agent.delivery.spool import Spool

_LOG = logging.getLogger(__name__)

GRACE_S = 2.0
"""How long after a connect a collector may show up before PUBACKs count."""
RESEND_S = (3.0, 60.0)
"""First and longest time without progress before messages are sent again."""
BACKLOG_AGE_S = 5.0
"""Older messages at the time of the connect are backlog (``historical``)."""
_BURST_S = 0.25
_IDLE_S = 0.5
_COLLECTOR_NOTE = "collector"
_LIVE_FLAG = b'"historical":false'
_HISTORICAL_FLAG = b'"historical":true'


class PublishingLink(Protocol):
    """What is needed of a connection (`edgehaul.mqtt.MqttLink`)."""

    def publish(self, topic: str, content: bytes) -> int:
        """Hand a message over and return its number, -1 where the link is down."""
        ...


class Sender:
    """Sends the spool over one connection; call it from one thread.

    Args:
        spool: What to send.
        link: The open connection.
        config: Window, backlog rate and whose receipts count.
        topics: The device's topics.
        clock: Measures the waiting times.
    """

    def __init__(
        self,
        spool: Spool,
        link: PublishingLink,
        config: MqttSection,
        topics: DeviceTopics,
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._link = link
        self._config = config
        self._topics = topics
        self._clock = clock
        now_s = clock.monotonic_s()
        self.epoch = spool.epoch
        self._cursors = LaneCursors(spool.last_before(clock.now_s() - BACKLOG_AGE_S))
        self._in_flight: dict[int, int] = {}
        self._received_by_broker: list[int] = []
        self._decide_at_s = now_s + GRACE_S
        self._mode: Literal["undecided", "collector", "puback"] = self._first_mode()
        self._budget = 0.0
        self._budget_at_s = now_s
        # Receipts of a collector.
        self._acknowledged = 0
        self._highest_sent = 0
        self._is_heard = False
        self._heard_at_s = now_s
        self._progress_at_s = now_s
        self._patience_s = RESEND_S[0]
        self._probe_at_s = now_s
        self.stalls = 0
        """How often a collector that was there made no progress."""

    def _first_mode(self) -> Literal["undecided", "collector", "puback"]:
        if self._config.acknowledge != "auto":
            return self._config.acknowledge
        return "collector" if self._spool.recall(_COLLECTOR_NOTE) else "undecided"

    @property
    def mode(self) -> AcknowledgeMode:
        """Whose receipt lets the device delete a message, as far as is known."""
        return "collector" if self._mode == "collector" else "puback"

    # ---- what came in -----------------------------------------------------------------

    def published(self, event: Published) -> None:
        """Take the broker's receipt for one message."""
        sequence = self._in_flight.pop(event.mid, 0)
        if not sequence:
            return
        if not event.accepted:
            _LOG.error("the broker refused message %d; check its limits and our rights", sequence)
        elif self._mode != "collector":
            self._received_by_broker.append(sequence)

    def received(self, event: Received) -> None:
        """Take a collector's receipt."""
        try:
            receipt = decode(event.content, where=event.topic).data
        except MessageError as error:
            _LOG.warning("ignored: %s", error)
            return
        if event.topic != self._topics.ack or not isinstance(receipt, AckData):
            return
        self._meet_collector(receipt.collector)
        # What a broker kept from before tells how far a collector was, not that it is there.
        if not event.retained:
            self._is_heard = True
            self._heard_at_s = self._clock.monotonic_s()
        if receipt.epoch == self.epoch and self._acknowledged < receipt.sequence:
            self._acknowledged = receipt.sequence
            self._progress_at_s = self._clock.monotonic_s()
            self._patience_s = RESEND_S[0]
            self._spool.acknowledge_up_to(self.epoch, receipt.sequence)

    def _meet_collector(self, name: str) -> None:
        if self._config.acknowledge == "puback" or self._mode == "collector":
            return
        _LOG.info("collector %s is present: messages are kept until it has stored them", name)
        self._mode = "collector"
        self._received_by_broker.clear()
        self._spool.note(_COLLECTOR_NOTE, name or "unnamed")

    # ---- what goes out ----------------------------------------------------------------

    def pump(self) -> float:
        """Send what may be sent now.

        Returns:
            The longest time in seconds after which to call again.
        """
        now_s = self._clock.monotonic_s()
        self._settle(now_s)
        self._send_live(now_s)
        if self._mode != "collector" or self._is_heard:
            self._send_backlog(now_s)
        elif now_s >= self._probe_at_s:
            self._probe(now_s)
        return self._wait_s()

    def _settle(self, now_s: float) -> None:
        if self._mode == "undecided" and now_s >= self._decide_at_s:
            _LOG.info("no collector: the broker's receipt (PUBACK) counts, which is weaker")
            self._mode = "puback"
        if self._mode == "puback" and self._received_by_broker:
            self._spool.acknowledge(self.epoch, self._received_by_broker)
            self._received_by_broker.clear()
        if self._mode == "collector" and self._is_stalled(now_s):
            _LOG.info("no progress beyond message %d: sending again", self._acknowledged)
            self._cursors = LaneCursors(max(self._cursors.boundary, self._highest_sent))
            self._is_heard = False
            self._probe_at_s = now_s
            self.stalls += 1

    def _is_stalled(self, now_s: float) -> bool:
        if not self._is_heard or self._highest_sent <= self._acknowledged:
            return False
        silent = now_s - self._heard_at_s > self._patience_s
        stuck = self._cursors.backlog_finished and now_s - self._progress_at_s > self._patience_s
        return silent or stuck

    def _send_live(self, now_s: float) -> None:
        for lane in LANES:
            room = self._room()
            if not room:
                return
            after = self._cursors.live_after(lane)
            for message in self._spool.lane(lane, after=after, up_to=sys.maxsize, limit=room):
                if not self._send(message, now_s):
                    return

    def _send_backlog(self, now_s: float) -> None:
        if self._cursors.backlog_finished:
            return
        rate = self._config.backlog_per_s
        self._budget += rate * (now_s - self._budget_at_s)
        self._budget = min(self._budget, max(1.0, rate * _BURST_S))
        self._budget_at_s = now_s
        for lane in LANES:
            room = min(self._room(), int(self._budget))
            if not room:
                return
            after = max(self._cursors.backlog_after(lane), self._acknowledged)
            rows = self._spool.lane(lane, after=after, up_to=self._cursors.boundary, limit=room)
            for message in rows:
                if not self._send(message, now_s):
                    return
                self._budget -= 1
            if len(rows) < room:
                self._cursors.finish_backlog(lane)
        if self._cursors.backlog_finished:
            self._progress_at_s = now_s

    def _probe(self, now_s: float) -> None:
        # Live messages that were only just sent deserve some time to be acknowledged.
        is_late = now_s - self._heard_at_s > RESEND_S[0]
        last = max(self._cursors.boundary, self._highest_sent if is_late else 0)
        oldest = self._spool.oldest(self._room(), after=self._acknowledged)
        due = [row for row in oldest if row.sequence <= last]
        for message in due:
            if not self._publish(message, historical=True):
                return
        self._probe_at_s = now_s + self._patience_s
        if due:
            self._highest_sent = max(self._highest_sent, due[-1].sequence)
            self._patience_s = min(2 * self._patience_s, RESEND_S[1])

    def _send(self, message: SpooledMessage, now_s: float) -> bool:
        if self._highest_sent <= self._acknowledged:
            self._heard_at_s = self._progress_at_s = now_s
        if not self._publish(message, historical=message.sequence <= self._cursors.boundary):
            return False
        self._cursors.sent(message.lane, message.sequence)
        self._highest_sent = max(self._highest_sent, message.sequence)
        return True

    def _publish(self, message: SpooledMessage, *, historical: bool) -> bool:
        content = message.content
        if historical:
            # The envelope's own flag is the last of that name; the payload comes before it.
            head, _, tail = content.rpartition(_LIVE_FLAG)
            content = head + _HISTORICAL_FLAG + tail
        mid = self._link.publish(message.topic, content)
        if mid < 0:
            return False
        self._in_flight[mid] = message.sequence
        return True

    def _room(self) -> int:
        return max(0, self._config.window - len(self._in_flight))

    def _wait_s(self) -> float:
        is_flowing = self._mode != "collector" or self._is_heard
        if is_flowing and not self._cursors.backlog_finished and self._room():
            return min(_IDLE_S, max(0.01, 1 / self._config.backlog_per_s))
        return _IDLE_S
