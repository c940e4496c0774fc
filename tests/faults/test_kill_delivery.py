"""Kill each of the three (device, broker, collector) in the middle, many times; lose nothing.

The account must always balance: received + declared gaps == produced, in each epoch.
"""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgehaul.config.device import MqttSection
from edgehaul.messages.codec import decode
from edgehaul.messages.payloads import StateData
from edgehaul.subscriber.client import Subscriber
from edgehaul.subscriber.ordering import SequenceTotals
from tests.brokers import Mosquitto
from tests.fakes.delivery import TOPICS, HandClock, fill, put, small_spool
from tests.fakes.running import RunningCollector, running_device, stored_sequences, wait_until

# Tells after each commit what is on the disk, and produces faster than that.
PRODUCER = """
import sys
from pathlib import Path
from tests.fakes.delivery import put
from tests.fakes.running import running_device
with running_device(Path(sys.argv[1]), int(sys.argv[2])) as (spool, forwarder):
    spool.listen(lambda: print(spool.last_sequence, flush=True))
    frame = 0
    while True:
        put(spool, frame, lane=("telemetry", "event", "alarm")[frame % 20 // 9])
        frame += 1
"""
# Commits like a collector, and dies before it can acknowledge.
DYING_COLLECTOR = """
import os, random, signal, sys
from pathlib import Path
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import Subscriber
from edgehaul.subscriber.collector import Collector, collected_topics
class DyingSink(SqliteSink):
    left = random.Random(int(sys.argv[3])).randint(1, 4)
    def write(self, batch):
        stored = super().write(batch)
        DyingSink.left -= 1
        if not DyingSink.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return stored
source = Subscriber(port=int(sys.argv[2]), filter=collected_topics())
with DyingSink(Path(sys.argv[1])) as sink, source:
    collector = Collector(source, sink, batch_rows=50)
    while True:
        collector.step(1.0)
"""


def seeded(seed: int) -> random.Random:
    """Return chance that can be repeated."""
    return random.Random(seed)


def child(script: str, repository: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=repository,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_and_kill(producer: subprocess.Popen[str], after_s: float) -> int:
    """Kill the producer some time after its first commit; return what it said was committed."""
    with producer:
        assert producer.stdout is not None
        committed = int(producer.stdout.readline())
        time.sleep(after_s)
        producer.kill()
        # A line that was cut off by the kill has no end and proves nothing.
        whole = [line for line in producer.stdout if line.endswith("\n")]
    return int(whole[-1]) if whole else committed


@pytest.mark.parametrize("kills", [10, pytest.param(60, marks=pytest.mark.slow)])
def test_a_killed_device_loses_nothing_committed_and_leaves_no_holes(
    tmp_path: Path, repository: Path, kills: int
) -> None:
    chance = seeded(1)
    committed = 0
    for _ in range(kills):
        # Nobody listens on port 1: everything has to wait on the disk.
        producer = child(PRODUCER, repository, tmp_path / "spool", 1)
        before = committed
        committed = run_and_kill(producer, chance.uniform(0.0, 0.15))
        assert committed > before
    with small_spool(tmp_path / "spool", clock=HandClock()) as spool:
        rows = [decode(row.content) for row in spool.oldest(10**9)]
        assert spool.set_aside is None
    assert len(rows) >= committed
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert len({row.epoch for row in rows}) == 1


@pytest.mark.broker
def test_a_device_killed_while_it_sends_loses_nothing_committed(
    tmp_path: Path, repository: Path
) -> None:
    chance = seeded(2)
    store = tmp_path / "store.db"
    with Mosquitto(tmp_path / "broker") as broker, RunningCollector(broker.port, store) as running:
        committed = 0
        for _ in range(6):
            producer = child(PRODUCER, repository, tmp_path / "spool", broker.port)
            committed = run_and_kill(producer, chance.uniform(0.1, 0.6))
        # Nobody said goodbye: the broker has published the device's last will.
        with Subscriber(port=broker.port, filter=TOPICS.state) as subscriber:
            state = subscriber.receive(10)
        with running_device(tmp_path / "spool", broker.port) as (spool, forwarder):
            assert forwarder.wait_delivered(60)
            produced = spool.health().produced
        account = running.account()
    assert state is not None
    assert isinstance(state.envelope.data, StateData)
    assert state.envelope.data.status == "offline"
    assert produced >= committed
    assert stored_sequences(store) == list(range(1, produced + 1))
    assert (account.received, account.missing, account.declared_lost) == (produced, 0, 0)


def send_through_killed_broker(
    folder: Path, mqtt: MqttSection, kills: int
) -> tuple[int, SequenceTotals]:
    """Produce while the broker is killed; return how much, and the collector's account."""
    chance = seeded(3)
    store = folder / "store.db"
    over = threading.Event()
    with (
        Mosquitto(folder / "broker") as broker,
        RunningCollector(broker.port, store) as running,
        running_device(folder / "spool", broker.port, mqtt) as (spool, forwarder),
    ):

        def produce() -> None:
            frame = 0
            while not over.wait(0.0003):
                put(spool, frame)
                frame += 1

        producing = threading.Thread(target=produce)
        producing.start()
        wait_until(lambda: len(stored_sequences(store)) > 0)
        for _ in range(kills):
            time.sleep(chance.uniform(0.3, 1.0))
            broker.kill()
            time.sleep(chance.uniform(0.05, 0.4))
            broker.start()
        over.set()
        producing.join()
        assert forwarder.wait_delivered(90)
        return spool.health().produced, running.account()


@pytest.mark.broker
@pytest.mark.slow
def test_trusting_pubacks_does_lose_messages_when_the_broker_is_killed(tmp_path: Path) -> None:
    # The control of the test below: without a collector's receipts the same kills do harm.
    mqtt = MqttSection(acknowledge="puback")
    _, account = send_through_killed_broker(tmp_path, mqtt, kills=10)
    assert account.missing > 0


@pytest.mark.broker
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_killed_broker_loses_nothing_where_a_collector_is_present(
    tmp_path: Path, kills: int
) -> None:
    store = tmp_path / "store.db"
    produced, account = send_through_killed_broker(tmp_path, MqttSection(), kills)
    assert produced > 100 * kills
    assert stored_sequences(store) == list(range(1, produced + 1))
    assert (account.received, account.missing, account.declared_lost) == (produced, 0, 0)


@pytest.mark.broker
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_collector_killed_between_commit_and_receipt_loses_and_doubles_nothing(
    tmp_path: Path, repository: Path, kills: int
) -> None:
    store = tmp_path / "store.db"
    with (
        Mosquitto(tmp_path / "broker") as broker,
        running_device(tmp_path / "spool", broker.port) as (spool, forwarder),
    ):
        spool.note("collector", "known from before")
        for seed in range(kills):
            dying = child(DYING_COLLECTOR, repository, store, broker.port, seed)
            with dying:
                while dying.poll() is None:
                    fill(spool, 50)
                    time.sleep(0.02)
            assert dying.returncode == -signal.SIGKILL
        at_death = len(stored_sequences(store))
        assert at_death >= kills
        with RunningCollector(broker.port, store) as running:
            assert forwarder.wait_delivered(60)
            produced = spool.health().produced
            account = running.account()
    assert produced > at_death
    assert stored_sequences(store) == list(range(1, produced + 1))
    assert (account.received, account.missing, account.declared_lost) == (produced, 0, 0)


@pytest.mark.broker
def test_a_quota_reached_while_offline_is_declared_and_the_account_balances(
    tmp_path: Path,
) -> None:
    broker = Mosquitto(tmp_path / "broker")
    with small_spool(tmp_path / "spool", telemetry_mb=0.1, clock=HandClock()) as spool:
        for frame in range(3000):
            put(spool, frame, lane="event" if frame % 50 == 0 else "telemetry")
        spool.flush()
        declared = spool.health().declared_lost
    with (
        broker,
        RunningCollector(broker.port, tmp_path / "store.db") as running,
        running_device(tmp_path / "spool", broker.port) as (spool, forwarder),
    ):
        assert forwarder.wait_delivered(60)
        produced = spool.health().produced
        account = running.account()
    assert declared > 1000
    assert account.declared_lost == declared
    assert account.received + account.declared_lost == produced == account.highest
    assert account.missing == 0
