"""``edgehaul subscribe`` and ``edgehaul collect`` as a user runs them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgehaul.config.device import MqttSection
from tests.brokers import Mosquitto, free_port
from tests.fakes.delivery import TOPICS, fill
from tests.fakes.running import running_device, stored_sequences, wait_until

pytestmark = pytest.mark.broker

INSISTS = MqttSection(acknowledge="collector")
"""A device that waits for the command, however long this machine takes to start it."""


def command(*arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgehaul_tools", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.mark.parametrize("form", ["--sqlite", "--jsonl"])
def test_collect_stores_everything_and_gives_an_account(
    broker: Mosquitto, tmp_path: Path, form: str
) -> None:
    store = tmp_path / "store"
    collecting = command(
        "collect", "--port", str(broker.port), form, store, "--count", "300", "--json"
    )
    with running_device(tmp_path / "spool", broker.port, INSISTS) as (spool, _):
        fill(spool, 300)
        output, errors = collecting.communicate(timeout=60)
        epoch = spool.epoch
    assert collecting.returncode == 0, errors
    (account,) = json.loads(output)["devices"]
    assert account["epoch"] == epoch
    assert (account["received"], account["missing"], account["declared_lost"]) == (300, 0, 0)
    if form == "--sqlite":
        assert stored_sequences(store) == list(range(1, 301))


def test_collect_ends_in_good_order_on_sigterm(broker: Mosquitto, tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    collecting = command("collect", "--port", str(broker.port), "--sqlite", store)
    with running_device(tmp_path / "spool", broker.port, INSISTS) as (spool, _):
        fill(spool, 20)
        wait_until(lambda: len(stored_sequences(store)) == 20)
    collecting.send_signal(signal.SIGTERM)
    output, errors = collecting.communicate(timeout=20)
    assert collecting.returncode == 0, errors
    assert "20 received + 0 declared lost + 0 missing = 20 produced" in output


def test_subscribe_shows_lines_for_people_and_for_programs(
    broker: Mosquitto, tmp_path: Path
) -> None:
    options = ("--port", str(broker.port), "--count", "3", "--timeout-s", "30")
    human = command("subscribe", *options, "--channel", "detections")
    machine = command("subscribe", *options, "--channel", "detections", "--json")
    with running_device(tmp_path / "spool", broker.port) as (spool, _):
        for _ in range(100):
            fill(spool, 1)
            if human.poll() is not None and machine.poll() is not None:
                break
            time.sleep(0.1)
    lines = human.communicate(timeout=20)[0].splitlines()
    assert len(lines) == 3
    assert all("depot/box-1/detections/cam nothing" in line for line in lines)
    objects = [json.loads(line) for line in machine.communicate(timeout=20)[0].splitlines()]
    assert [item["topic"] for item in objects] == [TOPICS.detections("cam")] * 3
    assert objects[0]["message"]["data"]["kind"] == "detections"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["subscribe", "--port", "{closed}"], 1, "start the broker"),
        (["collect", "--port", "{closed}", "--sqlite", "{folder}/a.db"], 1, "start the broker"),
        (["collect", "--port", "{open}"], 2, "add --sqlite FILE"),
        (["collect", "--port", "{open}", "--sqlite", "/proc/a.db"], 1, "check the path"),
        (["subscribe", "--port", "{open}", "--count", "1", "--timeout-s", "0.3"], 1, "0 of 1"),
        (["subscribe", "--port", "{open}", "--password-file", "/none"], 4, "--password-file"),
    ],
)
def test_faults_are_one_line_with_a_remedy(
    broker: Mosquitto, tmp_path: Path, arguments: list[str], exit_code: int, says: str
) -> None:
    places = {"closed": free_port(), "open": broker.port, "folder": tmp_path}
    run = command(*(argument.format(**places) for argument in arguments))
    output, errors = run.communicate(timeout=30)
    assert run.returncode == exit_code, errors
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert says in errors
