"""Receive what devices publish.

Example:
    >>> with Subscriber("127.0.0.1") as subscriber:  # doctest: +SKIP
    ...     for topic, envelope in subscriber:
    ...         print(topic, envelope.data)
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec

from edgehaul.clock import Clock, SystemClock
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import AuthError, BrokerError, MessageError, UsageError
from edgehaul.messages.codec import decode
from edgehaul.messages.envelope import Envelope
from edgehaul.messages.topics import topic_filter
from edgehaul.mqtt import (
    BrokerAddress,
    Connector,
    Lost,
    MqttLink,
    Protocol,
    Received,
    Session,
    Subscribed,
)

_LOG = logging.getLogger(__name__)
_BACKOFF_S = (0.2, 10.0)
_FOREVER_S = 1e9


class ReceivedMessage(msgspec.Struct, frozen=True):
    """A message as it came in.

    Attributes:
        topic: Where it was published.
        envelope: Its content, decoded.
        content: The same as bytes.
        retained: Whether the broker had kept it from before.
    """

    topic: str
    envelope: Envelope
    content: bytes
    retained: bool

    def as_json_line(self) -> bytes:
        """Return ``{"topic": ..., "message": ...}`` on one line, the message as it was sent."""
        # A sender may have laid its JSON out over several lines.
        on_one_line = msgspec.json.format(self.content, indent=-1)
        line = {"topic": self.topic, "message": msgspec.Raw(on_one_line)}
        return msgspec.json.encode(line)

    def data_json(self) -> bytes:
        """Return the payload as it was sent, also what this version does not know of it."""
        try:
            sent = msgspec.json.decode(self.content)["data"]
        except UNREADABLE_JSON:
            # A number that nothing can hold, in a field that nobody knows.
            sent = self.envelope.data
        return msgspec.json.encode(sent)


class Subscriber:
    """A subscription that outlives the broker's restarts; use it in ``with``.

    Args:
        host: The broker's name or address.
        port: The broker's port.
        filter: Topics wanted, one filter or several; everything by default.
        protocol: ``auto`` tries MQTT 5 and falls back to 3.1.1.
        username: User name; empty for none.
        password: Password; empty for none.
        ca_file: Certificates to trust; naming one switches TLS on.
        client_id: Identity for the broker; a new one by default.
        keep_s: How long the broker shall queue for this client while it is away.
        clock: Measures the waiting times.

    Raises:
        AuthError: On entry, when the broker refuses our name or password.
        BrokerError: On entry, when it cannot be reached.
        UsageError: On entry, when a filter is malformed.
    """

    def __init__(  # noqa: PLR0913 - the options of a connection, all named
        self,
        host: str = "127.0.0.1",
        port: int = 1883,
        *,
        filter: str | Sequence[str] = "",  # noqa: A002 - MQTT's own word for it
        protocol: Protocol = "auto",
        username: str = "",
        password: str = "",
        ca_file: str = "",
        client_id: str = "",
        keep_s: int = 0,
        clock: Clock | None = None,
    ) -> None:
        wanted = filter or topic_filter()
        self._filters = [wanted] if isinstance(wanted, str) else list(wanted)
        self._connector = Connector(
            BrokerAddress(
                host=host,
                port=port,
                username=username,
                password=password,
                ca_file=ca_file,
                protocol=protocol,
            )
        )
        self._session = Session(
            client_id=client_id or f"edgehaul-subscriber-{uuid.uuid4().hex[:12]}", keep_s=keep_s
        )
        self._clock = clock or SystemClock()
        self._link: MqttLink | None = None
        self._taken: deque[Received] = deque()
        self._pause_s = _BACKOFF_S[0]
        self.malformed = 0
        """Messages that broke the contract and were left out."""

    @property
    def overflowed(self) -> int:
        """Messages refused because this side did not keep up; a device with a collector resends."""
        return self._connector.overflowed

    def __enter__(self) -> Self:
        """Connect and subscribe."""
        self._connect()
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect."""
        self._drop_link()

    def __iter__(self) -> Iterator[tuple[str, Envelope]]:
        """Yield (topic, message) as they come, without end."""
        while True:
            message = self.receive(_FOREVER_S)
            if message is not None:
                yield message.topic, message.envelope

    def receive(self, timeout_s: float) -> ReceivedMessage | None:
        """Return the next message, or none after ``timeout_s`` seconds.

        Reconnects by itself, within the same time.

        Raises:
            AuthError: The broker refuses the subscription.
        """
        deadline_s = self._clock.monotonic_s() + timeout_s
        while True:
            while self._taken:
                message = self._decode(self._taken.popleft())
                if message is not None:
                    return message
            left_s = deadline_s - self._clock.monotonic_s()
            if not self._take_events() and left_s <= 0:
                return None
            if not self._taken:
                self._wait(left_s)

    def publish(self, topic: str, content: bytes, *, retain: bool = False) -> bool:
        """Publish something, such as a receipt; return whether the link took it."""
        return self._link is not None and self._link.publish(topic, content, retain=retain) >= 0

    def _decode(self, received: Received) -> ReceivedMessage | None:
        try:
            envelope = decode(received.content, where=received.topic)
        except MessageError as error:
            self.malformed += 1
            _LOG.warning("left out: %s", error)
            return None
        return ReceivedMessage(received.topic, envelope, received.content, received.retained)

    def _take_events(self) -> bool:
        if self._link is None:
            return False
        for event in self._link.events():
            if isinstance(event, Received):
                self._taken.append(event)
            elif isinstance(event, Lost):
                _LOG.warning("connection lost (%s); reconnecting", event.reason)
                self._drop_link()
                break
            elif isinstance(event, Subscribed) and not event.accepted:
                raise AuthError(
                    f"the MQTT broker refuses the subscription to {', '.join(self._filters)}",
                    where=self._connector.address.where,
                    remedy="allow this user to read these topics",
                )
        return bool(self._taken)

    def _wait(self, left_s: float) -> None:
        if left_s <= 0:
            return
        if self._link is not None:
            self._link.wait(min(left_s, 1.0))
            return
        self._clock.sleep(min(left_s, self._pause_s))
        self._pause_s = min(2 * self._pause_s, _BACKOFF_S[1])
        try:
            self._connect()
        except BrokerError as error:
            _LOG.info("not connected yet: %s", error)

    def _connect(self) -> None:
        self._link = self._connector.open(self._session)
        try:
            self._link.subscribe(self._filters)
        except ValueError as error:
            self._drop_link()
            raise UsageError(
                f"{', '.join(self._filters)} is no topic filter",
                remedy="a level is a name, or '+' for every name; '#' may only be the last",
            ) from error
        self._pause_s = _BACKOFF_S[0]

    def _drop_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
