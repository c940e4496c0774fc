"""The embedded broker: 3.1.1 only, but nothing is lost with a collector present."""

from pathlib import Path

import pytest

from edgehaul.errors import BrokerError
from edgehaul.subscriber.client import Subscriber
from edgehaul_tools.subscribe.embedded_broker import EmbeddedBroker
from tests.fakes.delivery import TOPICS, fill
from tests.fakes.running import RunningCollector, running_device, stored_sequences

pytest.importorskip("amqtt")


def test_everything_goes_through_the_embedded_broker(tmp_path: Path) -> None:
    with (
        EmbeddedBroker() as broker,
        RunningCollector(broker.port, tmp_path / "store.db") as collector,
        running_device(tmp_path / "spool", broker.port) as (spool, forwarder),
    ):
        assert forwarder.wait_connected(30)
        fill(spool, 1000)
        assert forwarder.wait_delivered(60)
        account = collector.account()
        with Subscriber(port=broker.port, filter=TOPICS.state) as subscriber:
            state = subscriber.receive(20)
    assert (account.received, account.missing, account.declared_lost) == (1000, 0, 0)
    assert stored_sequences(tmp_path / "store.db") == list(range(1, 1001))
    assert state is not None
    assert state.retained


def test_a_port_that_is_taken_is_one_clear_error() -> None:
    with EmbeddedBroker() as broker:
        second = EmbeddedBroker(broker.port)
        with pytest.raises(BrokerError, match=r"did not start: .*; choose another port"), second:
            pass
