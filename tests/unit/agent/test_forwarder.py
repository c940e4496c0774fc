"""The forwarder's thread, without a broker."""

import logging
from pathlib import Path

import pytest

from edgehaul.config.device import MqttSection
from edgehaul_agent.delivery import forwarder
from tests.brokers import free_port
from tests.fakes.running import running_device, wait_until


def test_a_broker_that_is_away_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, forwarder.__name__)
    with running_device(tmp_path, free_port(), MqttSection(protocol="5")):
        wait_until(lambda: len(caplog.records) >= 3)
    levels = [record.levelno for record in caplog.records]
    assert levels[0] == logging.WARNING
    assert set(levels[1:]) == {logging.DEBUG}
