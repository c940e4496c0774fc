"""One MQTT connection, used by the agent and by subscribers alike.

The callbacks of paho run on its network thread, partly while it holds its own locks, so
here they only enqueue; whoever owns the link takes the events out with `MqttLink.events`
and does the work on its own thread. A link lives from one connect to the next disconnect:
reconnecting means opening a new one, so nothing of the old connection can linger.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edgehaul.errors import AuthError, BrokerError, EdgeHaulError

_LOG = logging.getLogger(__name__)

Protocol = Literal["auto", "5", "3.1.1"]
CONTENT_TYPE = "application/cloudevents+json"
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
_AUTH_FAILURES = ("Bad user name or password", "Not authorized", "Bad authentication method")


def read_password(path: str | PathLike[str], *, option: str) -> str:
    """Return the first line of a password file; nothing where no file is named.

    Args:
        path: The file; empty for none.
        option: What names it, for the error.

    Raises:
        AuthError: It cannot be read.
    """
    if not str(path):
        return ""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AuthError(
            f"the password file cannot be read: {getattr(error, 'strerror', '') or error}",
            where=path,
            remedy=f"correct {option}",
        ) from error
    return lines[0] if lines else ""


class BrokerAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a broker is and how to be let in.

    Attributes:
        host: Name or address.
        port: TCP port.
        username: User name; empty for none.
        password: Password; empty for none.
        ca_file: Certificates to trust; naming one switches TLS on.
        keepalive_s: Seconds between pings.
        protocol: ``auto`` tries MQTT 5 and falls back to 3.1.1.
        timeout_s: Longest wait for the connection, and for the broker's answer.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    username: str = ""
    password: str = ""
    ca_file: str = ""
    keepalive_s: int = 30
    protocol: Protocol = "auto"
    timeout_s: float = 5.0

    @property
    def where(self) -> str:
        """``host:port``, for errors."""
        return f"{self.host}:{self.port}"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """How the broker shall know this client.

    Attributes:
        client_id: Identity; a second client with the same one replaces the first.
        keep_s: How long the broker keeps subscriptions and queue after a disconnect.
        will_topic: Topic of the last will; empty for none.
        will: The last will, retained.
    """

    client_id: str
    keep_s: int = 0
    will_topic: str = ""
    will: bytes = b""


class Published(msgspec.Struct, frozen=True):
    """The broker has taken the message ``mid`` (PUBACK), or has refused it."""

    mid: int
    accepted: bool


class Received(msgspec.Struct, frozen=True):
    """A message came in; ``retained`` where it was kept by the broker from before."""

    topic: str
    content: bytes
    retained: bool


class Subscribed(msgspec.Struct, frozen=True):
    """The broker has taken (or refused) a subscription."""

    accepted: bool


class Lost(msgspec.Struct, frozen=True):
    """The connection is gone."""

    reason: str


LinkEvent = Published | Received | Subscribed | Lost


class MqttLink:
    """An open connection; made by `Connector.open`.

    Args:
        client: A connected paho client whose network thread runs.
        inbox: What the client's callbacks fill.
        wake: Set whenever something was put into ``inbox``.
        protocol: The version that the broker speaks.
    """

    def __init__(
        self,
        client: paho.Client,
        inbox: queue.SimpleQueue[LinkEvent],
        wake: threading.Event,
        protocol: str,
    ) -> None:
        self._client = client
        self._inbox = inbox
        self._wake = wake
        self.protocol = protocol
        self._publish_properties: Properties | None = None
        if protocol == "5":
            self._publish_properties = _properties(PacketTypes.PUBLISH)
            self._publish_properties.ContentType = CONTENT_TYPE

    def publish(self, topic: str, content: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Hand a message over; the receipt comes as `Published` with the number returned here.

        Returns:
            The message's number within this connection, or -1 where the link is down.
        """
        info = self._client.publish(
            topic, content, qos=qos, retain=retain, properties=self._publish_properties
        )
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else -1

    def subscribe(self, filters: Sequence[str], *, qos: int = 1) -> None:
        """Ask for topics; the answer comes as `Subscribed`."""
        self._client.subscribe([(topic, qos) for topic in filters])

    def wait(self, timeout_s: float) -> None:
        """Sleep until something happened, or for ``timeout_s`` seconds."""
        self._wake.wait(timeout_s)

    def events(self) -> list[LinkEvent]:
        """Take everything out that happened since the last call."""
        self._wake.clear()
        taken: list[LinkEvent] = []
        try:
            while True:
                taken.append(self._inbox.get_nowait())
        except queue.Empty:
            return taken

    def close(self) -> None:
        """Disconnect in good order, so that the last will stays unsaid."""
        self._client.disconnect()
        self._client.loop_stop()


class Connector:
    """Opens links to one broker and remembers which protocol it speaks.

    Args:
        address: The broker.
        wake: Set at each event of a link; one's own where one waits for other things too.
        queue_limit: Most received messages kept for the owner of the link; more are
            refused and counted in ``overflowed``.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        wake: threading.Event | None = None,
        queue_limit: int = 20_000,
    ) -> None:
        self.address = address
        self.overflowed = 0
        self._wake = wake or threading.Event()
        self._queue_limit = queue_limit
        self._spoken = ""

    def check_files(self) -> None:
        """Read what the address names, so that a slip shows before the first attempt.

        Raises:
            AuthError: The certificates to trust cannot be read.
        """
        if self.address.ca_file:
            _trust(paho.Client(CallbackAPIVersion.VERSION2), self.address.ca_file)

    def open(self, session: Session) -> MqttLink:
        """Connect, with MQTT 5 where the broker has it.

        Raises:
            AuthError: The broker refuses our name or password.
            BrokerError: It cannot be reached, or refuses us for another reason.
        """
        if self._spoken:
            candidates = [self._spoken]
        elif self.address.protocol == "auto":
            candidates = ["5", "3.1.1"]
        else:
            candidates = [self.address.protocol]
        self._spoken = ""
        for candidate in candidates[:-1]:
            try:
                return self._open_newer(session, candidate)
            except _ProtocolRefusedError:
                _LOG.info("%s does not speak MQTT %s", self.address.where, candidate)
        return self._open(session, candidates[-1])

    def _open_newer(self, session: Session, protocol: str) -> MqttLink:
        # Older brokers (amqtt 0.12) wait for ever over a will or a property of MQTT 5 that they
        # misread, but refuse at once a connect without them.
        if session.will_topic or session.keep_s:
            plain = msgspec.structs.replace(session, will_topic="", keep_s=0)
            self._open(plain, protocol).close()
        return self._open(session, protocol)

    def _open(self, session: Session, protocol: str) -> MqttLink:
        inbox: queue.SimpleQueue[LinkEvent] = queue.SimpleQueue()
        answer: queue.SimpleQueue[ReasonCode | None] = queue.SimpleQueue()
        client = self._client(session, protocol)
        self._enqueue_callbacks(client, inbox, answer)
        self._connect(client, session, protocol)
        client.loop_start()
        try:
            self._check(answer)
        except EdgeHaulError:
            client.disconnect()
            client.loop_stop()
            raise
        self._spoken = protocol
        return MqttLink(client, inbox, self._wake, protocol)

    def _client(self, session: Session, protocol: str) -> paho.Client:
        address = self.address
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=session.client_id,
            clean_session=None if protocol == "5" else session.keep_s == 0,
            protocol=_VERSIONS[protocol],
            reconnect_on_failure=False,
        )
        client.connect_timeout = address.timeout_s
        client.max_inflight_messages_set(100)
        if address.username:
            client.username_pw_set(address.username, address.password or None)
        if address.ca_file:
            _trust(client, address.ca_file)
        if session.will_topic:
            client.will_set(session.will_topic, session.will, qos=1, retain=True)
        return client

    def _enqueue_callbacks(
        self,
        client: paho.Client,
        inbox: queue.SimpleQueue[LinkEvent],
        answer: queue.SimpleQueue[ReasonCode | None],
    ) -> None:
        def put(event: LinkEvent) -> None:
            inbox.put(event)
            self._wake.set()

        def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            if inbox.qsize() >= self._queue_limit:
                self.overflowed += 1
                return
            put(Received(message.topic, bytes(message.payload), message.retain))

        def on_publish(*arguments: Any) -> None:  # noqa: ANN401 - paho's own signature
            put(Published(arguments[2], not arguments[3].is_failure))

        def on_subscribe(*arguments: Any) -> None:  # noqa: ANN401 - paho's own signature
            put(Subscribed(not any(code.is_failure for code in arguments[3])))

        def on_connect(*arguments: Any) -> None:  # noqa: ANN401 - paho's own signature
            answer.put(arguments[3])

        def on_disconnect(*arguments: Any) -> None:  # noqa: ANN401 - paho's own signature
            answer.put(None)
            put(Lost(str(arguments[3])))

        client.on_message = on_message
        client.on_publish = on_publish
        client.on_subscribe = on_subscribe
        client.on_connect = on_connect
        client.on_disconnect = on_disconnect

    def _connect(self, client: paho.Client, session: Session, protocol: str) -> None:
        address = self.address
        properties = None
        if protocol == "5" and session.keep_s:
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = session.keep_s
        try:
            client.connect(
                address.host,
                address.port,
                keepalive=address.keepalive_s,
                clean_start=(session.keep_s == 0)
                if protocol == "5"
                else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except (OSError, ValueError) as error:  # a ValueError is about an impossible name
            raise BrokerError(
                f"cannot reach the MQTT broker: {getattr(error, 'strerror', '') or error}",
                where=address.where,
                remedy="start the broker, or correct host and port",
            ) from error

    def _check(self, answer: queue.SimpleQueue[ReasonCode | None]) -> None:
        where = self.address.where
        try:
            code = answer.get(timeout=self.address.timeout_s)
        except queue.Empty:
            raise _ProtocolRefusedError(
                f"no answer within {self.address.timeout_s:g} s",
                where=where,
                remedy="check that an MQTT broker listens there",
            ) from None
        if code is None:
            raise _ProtocolRefusedError(
                "the broker closed the connection",
                where=where,
                remedy="check the protocol version, and TLS",
            )
        if not code.is_failure:
            return
        if str(code) in _AUTH_FAILURES:
            raise AuthError(
                f"the MQTT broker refuses us: {code}",
                where=where,
                remedy="correct the user name and the password file",
            )
        raise _ProtocolRefusedError(
            f"the MQTT broker refuses us: {code}",
            where=where,
            remedy="check the protocol version and the client's name",
        )


class _ProtocolRefusedError(BrokerError):
    """The broker hung up or refused us, maybe only for the version of the protocol."""


def _trust(client: paho.Client, ca_file: str) -> None:
    try:
        client.tls_set(ca_certs=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise AuthError(
            f"the certificates to trust cannot be read: {error.strerror or error}",
            where=ca_file,
            remedy="name a file of certificates in PEM form",
        ) from error


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho has no types here
