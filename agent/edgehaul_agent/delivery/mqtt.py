"""The device's side of its MQTT connection: address, identity and last will."""

from __future__ import annotations

import msgspec

from edgehaul.config.device import MqttSection
from edgehaul.messages.codec import encode, uncounted
from edgehaul.messages.payloads import StateData
from edgehaul.messages.topics import DeviceTopics
from edgehaul.mqtt import BrokerAddress, Connector, Session, read_password


def broker_address(config: MqttSection) -> BrokerAddress:
    """Return where the broker is, with the password read from its file.

    Raises:
        AuthError: The password file cannot be read.
    """
    return BrokerAddress(
        host=config.host,
        port=config.port,
        username=config.username,
        password=read_password(config.password_file, option="mqtt.password_file"),
        ca_file=config.ca_file,
        keepalive_s=config.keepalive_s,
        protocol=config.protocol,
    )


def state_message(topics: DeviceTopics, state: StateData, *, now_s: float) -> bytes:
    """Return the JSON of a state message."""
    return encode(uncounted(state, topics=topics, captured_at_s=now_s))


def device_session(topics: DeviceTopics, state: StateData, *, now_s: float) -> Session:
    """Return the device's identity for the broker, with the last will ``offline``.

    The broker keeps nothing of the device: what is not acknowledged is in the spool.
    """
    will = msgspec.structs.replace(state, status="offline", reason="connection lost")
    return Session(
        client_id=f"edgehaul-{topics.site}-{topics.device}",
        will_topic=topics.state,
        will=state_message(topics, will, now_s=now_s),
    )


def check_broker(config: MqttSection, topics: DeviceTopics) -> str:
    """Connect once and leave again, for ``edgehaul-agent check``.

    Returns:
        The protocol that the broker speaks, ``5`` or ``3.1.1``.

    Raises:
        AuthError: The broker refuses our name or password.
        BrokerError: It cannot be reached, or refuses us for another reason.
    """
    session = Session(client_id=f"edgehaul-{topics.site}-{topics.device}-check")
    link = Connector(broker_address(config)).open(session)
    link.close()
    return link.protocol
