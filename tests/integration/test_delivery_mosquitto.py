"""Device, broker and collector together, on a real mosquitto."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.device import MqttSection
from edgehaul.errors import AuthError, BrokerError
from edgehaul.messages.payloads import AckData, StateData
from edgehaul.subscriber.client import Subscriber
from edgehaul_agent.delivery.mqtt import check_broker
from tests.brokers import Mosquitto, free_port
from tests.fakes.delivery import TOPICS, fill
from tests.fakes.running import RunningCollector, running_device, stored_sequences, wait_until

pytestmark = pytest.mark.broker


class LaterClock(SystemClock):
    """An hour ahead, so that everything spooled is old."""

    def now_s(self) -> float:
        return super().now_s() + 3600.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


def state_of(port: int) -> StateData:
    """Return the state that the broker has kept."""
    with Subscriber(port=port, filter=TOPICS.state) as subscriber:
        message = subscriber.receive(20)
    assert message is not None
    assert message.retained
    assert isinstance(message.envelope.data, StateData)
    return message.envelope.data


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
def test_everything_produced_is_collected_once(
    broker: Mosquitto, tmp_path: Path, protocol: Literal["auto", "5", "3.1.1"]
) -> None:
    config = MqttSection(protocol=protocol)
    with RunningCollector(broker.port, tmp_path / "store.db") as collector:
        with running_device(tmp_path / "spool", broker.port, config) as (spool, forwarder):
            assert forwarder.wait_connected(30)
            fill(spool, 1000)
            assert forwarder.wait_delivered(60)
            online = state_of(broker.port)
            epoch = spool.epoch
        wait_until(lambda: state_of(broker.port).status == "stopped")
        account = collector.account()
    assert (online.status, online.acknowledge, online.epoch) == ("online", "collector", epoch)
    assert (account.received, account.missing, account.declared_lost) == (1000, 0, 0)
    assert stored_sequences(tmp_path / "store.db") == list(range(1, 1001))


def test_without_a_collector_the_spool_empties_on_pubacks(
    broker: Mosquitto, tmp_path: Path
) -> None:
    with running_device(tmp_path / "spool", broker.port) as (spool, forwarder):
        fill(spool, 200)
        assert forwarder.wait_delivered(60)
        assert state_of(broker.port).acknowledge == "puback"


def test_what_was_spooled_without_a_broker_follows_as_backlog(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    with running_device(tmp_path / "spool", broker.port, clock=LaterClock()) as (spool, forwarder):
        fill(spool, 300)
        assert not forwarder.connected
        with broker, Subscriber(port=broker.port, filter=TOPICS.detections("cam")) as subscriber:
            messages = [subscriber.receive(20) for _ in range(300)]
            assert forwarder.wait_delivered(60)
    assert [m.envelope.sequence for m in messages if m] == list(range(1, 301))
    assert all(m.envelope.historical for m in messages if m)


def test_a_collector_that_comes_late_takes_over(broker: Mosquitto, tmp_path: Path) -> None:
    with running_device(tmp_path / "spool", broker.port) as (spool, forwarder):
        fill(spool, 100)
        assert forwarder.wait_delivered(60)
        with RunningCollector(broker.port, tmp_path / "store.db") as collector:
            wait_until(lambda: state_of(broker.port).acknowledge == "collector")
            fill(spool, 50)
            assert forwarder.wait_delivered(60)
            account = collector.account()
    assert (account.received, account.missing, account.earlier) == (50, 0, 100)
    assert account.highest == 150


def test_what_pubacks_let_go_of_was_before_the_collector_joined(
    broker: Mosquitto, tmp_path: Path
) -> None:
    config = MqttSection(acknowledge="puback")
    with running_device(tmp_path / "spool", broker.port, config) as (spool, forwarder):
        fill(spool, 120)
        assert forwarder.wait_delivered(60)
    assert state_of(broker.port).first_pending == 121
    with RunningCollector(broker.port, tmp_path / "store.db") as collector:
        wait_until(lambda: bool(collector.collector.ledger.totals()))
        account = collector.account()
    assert (account.received, account.missing, account.earlier) == (0, 0, 120)
    # One that has stored a part of it knows that it lacks the rest.
    with running_device(tmp_path / "spool", broker.port, config) as (spool, forwarder):
        with RunningCollector(broker.port, tmp_path / "store.db") as collector:
            fill(spool, 10)
            wait_until(lambda: len(stored_sequences(tmp_path / "store.db")) == 10)
        assert forwarder.wait_delivered(60)
    with Subscriber(port=broker.port, filter=TOPICS.ack) as subscriber:
        message = subscriber.receive(20)
    assert message is not None
    assert isinstance(message.envelope.data, AckData)
    assert message.envelope.data.sequence == 130
    with RunningCollector(broker.port, tmp_path / "store.db") as collector:
        account = collector.account()
    assert (account.received, account.missing, account.earlier) == (10, 0, 120)


def test_a_collector_that_comes_amid_the_backlog_gets_over_what_it_missed(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker")
    config = MqttSection(backlog_per_s=20)
    later = LaterClock()
    with running_device(tmp_path / "spool", broker.port, config, later) as (spool, forwarder):
        fill(spool, 100)
        with broker:
            assert forwarder.wait_connected(30)
            fill(spool, 50)
            wait_until(lambda: spool.first_sequence() > 1)
            with RunningCollector(broker.port, tmp_path / "store.db") as collector:
                wait_until(lambda: state_of(broker.port).acknowledge == "collector")
                fill(spool, 10)
                assert forwarder.wait_delivered(30)
                account = collector.account()
    assert account.received + account.missing + account.earlier == account.highest == 160
    assert stored_sequences(tmp_path / "store.db")[-10:] == list(range(151, 161))


def test_a_device_waits_for_the_collector_it_knows(broker: Mosquitto, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with running_device(tmp_path / "spool", broker.port) as (spool, forwarder):
        with RunningCollector(broker.port, store):
            fill(spool, 20)
            assert forwarder.wait_delivered(60)
        fill(spool, 30)
        assert not forwarder.wait_delivered(1)
    with running_device(tmp_path / "spool", broker.port) as (spool, forwarder):
        assert not forwarder.wait_delivered(1)
        assert spool.health().pending == 30
        with RunningCollector(broker.port, store):
            assert forwarder.wait_delivered(60)
    assert stored_sequences(store) == list(range(1, 51))


def test_nonsense_and_foreign_messages_do_not_stop_a_collector(
    broker: Mosquitto, tmp_path: Path
) -> None:
    with (
        RunningCollector(broker.port, tmp_path / "store.db") as collector,
        Subscriber(port=broker.port, filter="none") as stranger,
        running_device(tmp_path / "spool", broker.port) as (spool, forwarder),
    ):
        stranger.publish(TOPICS.health, b"\x00 no json")
        stranger.publish("edgehaul/v1/bad site/x/gap", b"{}")
        stranger.publish(TOPICS.ack, b"[]", retain=True)
        fill(spool, 10)
        assert forwarder.wait_delivered(60)
        assert collector.account().received == 10


def test_a_subscriber_outlives_the_broker(broker: Mosquitto, tmp_path: Path) -> None:
    with (
        running_device(tmp_path / "spool", broker.port) as (spool, forwarder),
        Subscriber(port=broker.port, filter=TOPICS.detections("cam")) as subscriber,
    ):
        assert forwarder.wait_connected(30)
        broker.kill()
        fill(spool, 5)
        broker.start()
        received = {
            message.envelope.sequence
            for message in (subscriber.receive(3) for _ in range(5))
            if message
        }
        # One that reconnects after the device has missed what was sent before.
        assert forwarder.wait_delivered(60)
        fill(spool, 1)
        message = subscriber.receive(10)
        assert message is not None or received


def test_a_wrong_password_is_told_apart_from_a_missing_broker(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "box", "secret"], check=True)
    passwords.chmod(0o644)
    with Mosquitto(tmp_path / "broker", passwords=passwords) as broker:
        for given in ("wrong", ""):
            with (
                pytest.raises(AuthError, match=r"127.0.0.1:\d+: .*; correct the user name"),
                Subscriber(port=broker.port, username=given and "box", password=given),
            ):
                pass
        secret = tmp_path / "secret"
        secret.write_text("secret\n")
        config = MqttSection(port=broker.port, username="box", password_file=str(secret))
        assert check_broker(config, TOPICS) == "5"
    with pytest.raises(BrokerError, match=r"cannot reach the MQTT broker: .*; start the broker"):
        check_broker(MqttSection(port=free_port()), TOPICS)
    config = MqttSection(password_file=str(tmp_path / "none"))
    with pytest.raises(AuthError, match=r"mqtt\.password_file"):
        check_broker(config, TOPICS)
