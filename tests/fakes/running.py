"""A device and a collector that run on threads of the test, and what a test asks of them."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec

from edgehaul.clock import Clock
from edgehaul.config.device import MqttSection, SpoolSection
from edgehaul.messages.payloads import StateData
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import Subscriber
from edgehaul.subscriber.collector import Collector, collected_topics
from edgehaul.subscriber.ordering import SequenceTotals
from edgehaul_agent.delivery.forwarder import Forwarder
from edgehaul_agent.delivery.spool import Spool
from tests.fakes.delivery import TOPICS


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    """Wait for something that happens in other threads or processes."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.02)


class RunningCollector:
    """Collects on a thread until the end of its ``with``.

    Args:
        port: Port of the broker.
        path: SQLite file.
    """

    def __init__(self, port: int, path: Path) -> None:
        self._port = port
        self._path = path
        self._over = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        source = Subscriber(port=self._port, filter=collected_topics())
        with SqliteSink(self._path) as sink, source:
            self.collector = Collector(source, sink, name="test")
            self._ready.set()
            while not self._over.is_set():
                self.collector.step(0.05)

    def account(self) -> SequenceTotals:
        """Return the account of the only device."""
        (account,) = self.collector.ledger.totals()
        return account


@contextlib.contextmanager
def running_device(
    folder: Path, port: int, mqtt: MqttSection | None = None, clock: Clock | None = None
) -> Iterator[tuple[Spool, Forwarder]]:
    """Run a spool and its forwarder."""
    config = msgspec.structs.replace(mqtt or MqttSection(), port=port)
    with Spool(folder, SpoolSection(group_ms=20), TOPICS) as spool:
        forwarder = Forwarder(
            spool, config, TOPICS, state=lambda: StateData(status="online"), clock=clock
        )
        with forwarder:
            yield spool, forwarder


def stored_sequences(path: Path) -> list[int]:
    """Return the sequences of all counted messages in a SQLite file, in order."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            rows = database.execute("SELECT sequence FROM messages WHERE sequence > 0 ORDER BY 1")
        except sqlite3.OperationalError:  # the collector has not made its tables yet
            return []
        return [sequence for (sequence,) in rows]
