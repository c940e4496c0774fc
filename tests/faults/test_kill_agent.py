"""The agent is killed in the middle, again and again: nothing that it spooled is lost."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edgehaul_agent.proof import prove
from edgehaul_agent.update.install import install_bundle
from tests.brokers import Mosquitto
from tests.fakes.bundles import write_runnable_bundle
from tests.fakes.running import RunningCollector, stored_sequences, wait_until

KILLS = 4
FRAMES = 500


def write_config(folder: Path, port: int) -> Path:
    config = folder / "device.yaml"
    source = {"type": "virtual_conveyor", "seed": 3, "frames": FRAMES, "width": 160, "height": 120}
    config.write_text(
        yaml.safe_dump(
            {
                "root": "device",
                "device": {"id": "box-1", "site": "test"},
                "mqtt": {"port": port},
                "streams": [{"name": "belt", "model": "parcels", "source": source}],
            }
        )
    )
    return config


def start_agent(config: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgehaul_agent", "run", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.broker
def test_no_spooled_result_is_lost_when_the_agent_is_killed(tmp_path: Path) -> None:
    install_bundle(write_runnable_bundle(tmp_path), tmp_path / "device", prove=prove)
    database = tmp_path / "results.db"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        RunningCollector(broker.port, database) as collector,
    ):
        config = write_config(tmp_path, broker.port)
        rng = random.Random(7)
        for _ in range(KILLS):
            seen = len(stored_sequences(database))
            with start_agent(config) as agent:
                wanted = seen + rng.randint(30, 200)
                wait_until(lambda: len(stored_sequences(database)) >= wanted)  # noqa: B023 - called within this turn
                assert agent.poll() is None, "the agent ended before it could be killed"
                agent.kill()
        with start_agent(config) as agent:
            output, diagnostics = agent.communicate(timeout=120)
        assert agent.returncode == 0, diagnostics
        spool = json.loads(output)["spool"]
        wait_until(lambda: collector.account().received >= spool["produced"])
        account = collector.account()

    assert spool["pending"] == 0
    assert spool["declared_lost"] == 0
    assert account.missing == 0
    assert account.received == spool["produced"] > FRAMES
    assert stored_sequences(database) == list(range(1, spool["produced"] + 1))
