"""``edgehaul subscribe`` shows what devices say; ``edgehaul collect`` stores it durably."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from edgehaul.errors import DeliveryError, EdgeHaulError, UsageError
from edgehaul.messages.topics import topic_filter
from edgehaul.mqtt import Protocol, read_password
from edgehaul.sinks.base import Sink
from edgehaul.sinks.jsonl import JsonlSink
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import Subscriber
from edgehaul.subscriber.collector import Collector, collected_topics
from edgehaul.subscriber.ordering import SequenceTotals
from edgehaul_tools.finite import FiniteRange
from edgehaul_tools.subscribe.lines import describe

_FOREVER_S = 1e9
_STEP_S = 0.2
_KEEP_S = 24 * 3600
_COUNT = click.IntRange(0)
_SECONDS = FiniteRange(0, _FOREVER_S)
_Command = TypeVar("_Command", bound=Callable[..., object])


class Connection(msgspec.Struct, frozen=True):
    """The options that both commands share."""

    host: str
    port: int
    username: str
    password_file: Path | None
    ca_file: str
    protocol: Protocol
    site: str
    device: str

    def password(self) -> str:
        """Return the first line of the password file.

        Raises:
            AuthError: It cannot be read.
        """
        return read_password(self.password_file or "", option="--password-file")

    def subscriber(self, filters: list[str], *, client_id: str = "", keep_s: int = 0) -> Subscriber:
        """Return a subscriber that is not connected yet."""
        return Subscriber(
            self.host,
            self.port,
            filter=filters,
            protocol=self.protocol,
            username=self.username,
            password=self.password(),
            ca_file=self.ca_file,
            client_id=client_id,
            keep_s=keep_s,
        )


def _connection_options(command: _Command) -> _Command:
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Broker's name."),
        click.option(
            "--port",
            type=click.IntRange(1, 65535),
            default=1883,
            show_default=True,
            help="Broker's port.",
        ),
        click.option("--username", default="", help="User name at the broker."),
        click.option("--password-file", type=Path, help="File whose first line is the password."),
        click.option("--ca-file", default="", help="Certificates to trust; switches TLS on."),
        click.option(
            "--protocol",
            type=click.Choice(["auto", "5", "3.1.1"]),
            default="auto",
            show_default=True,
            help="Version of MQTT.",
        ),
        click.option("--site", default="+", help="Only this site."),
        click.option("--device", default="+", help="Only this device."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_connection_options
@click.option("--channel", default="#", help="Only this channel, such as events or health.")
@click.option("--count", type=_COUNT, default=0, help="Leave after so many messages.")
@click.option("--timeout-s", type=_SECONDS, default=0.0, help="Leave after so many seconds.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def subscribe(
    *, channel: str, count: int, timeout_s: float, as_json: bool, **connection: object
) -> None:
    """Show what devices publish, until interrupted.

    With --count, fewer messages within --timeout-s are a failure.
    """
    options = msgspec.convert(connection, Connection)
    if channel != "#" and "/" not in channel and channel in ("detections", "events", "positions"):
        channel += "/#"
    with _interruptible() as is_over:
        deadline_s = time.monotonic() + (timeout_s or _FOREVER_S)
        shown = 0
        with options.subscriber([topic_filter(options.site, options.device, channel)]) as source:
            while not is_over() and not (count and shown >= count):
                if time.monotonic() > deadline_s:
                    break
                message = source.receive(_STEP_S)
                if message is None:
                    continue
                shown += 1
                click.echo(message.as_json_line() if as_json else describe(message))
    if shown < count and not is_over():
        raise DeliveryError(
            f"{shown} of {count} messages came within {timeout_s:g} s",
            where=f"{options.host}:{options.port}",
            remedy="check that the device runs, and --site, --device and --channel",
        )


@click.command()
@_connection_options
@click.option("--sqlite", type=Path, help="Store in this SQLite file.")
@click.option("--jsonl", type=Path, help="Store in this file, one JSON object a line.")
@click.option("--name", default="", help="Name of this collector in its receipts.")
@click.option(
    "--count", type=_COUNT, default=0, help="Leave after so many counted messages are stored."
)
@click.option(
    "--idle-exit-s", type=_SECONDS, default=0.0, help="Leave when nothing came for so long."
)
@click.option("--json", "as_json", is_flag=True, help="The account as JSON.")
def collect(
    *,
    sqlite: Path | None,
    jsonl: Path | None,
    name: str,
    count: int,
    idle_exit_s: float,
    as_json: bool,
    **connection: object,
) -> None:
    """Store what devices publish, and tell them what is stored.

    A device keeps a message until it is stored here. Each message is stored once, however
    often it is sent. The account at the end says for each device what was received, declared
    lost and is missing.
    """
    options = msgspec.convert(connection, Connection)
    path = _chosen(sqlite, jsonl)
    name = name or socket.gethostname()
    # The same store is the same client, so that the broker's queue for it is found again.
    identity = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    source = options.subscriber(
        collected_topics(options.site, options.device),
        client_id=f"edgehaul-collect-{identity}",
        keep_s=_KEEP_S,
    )
    with _interruptible() as is_over, _opened(path, source, is_database=bool(sqlite)) as sink:
        collector = Collector(source, sink, name=name)
        _run(collector, is_over, count=count, idle_exit_s=idle_exit_s or _FOREVER_S)
        _report(collector, path, as_json=as_json)


@contextlib.contextmanager
def _opened(path: Path, source: Subscriber, *, is_database: bool) -> Iterator[Sink]:
    """Open the store, then connect: a broker shall queue nothing for a store that is unusable."""
    is_new = not path.exists()
    sink: Sink = SqliteSink(path) if is_database else JsonlSink(path)
    with contextlib.closing(sink), contextlib.ExitStack() as connection:
        try:
            connection.enter_context(source)
        except EdgeHaulError:
            if is_new:
                sink.close()
                path.unlink(missing_ok=True)
            raise
        yield sink


def _chosen(sqlite: Path | None, jsonl: Path | None) -> Path:
    path = sqlite or jsonl
    if path is None or (sqlite and jsonl):
        raise UsageError(
            "name one place to store to", where="edgehaul collect", remedy="add --sqlite FILE"
        )
    return path


def _run(
    collector: Collector, is_over: Callable[[], bool], *, count: int, idle_exit_s: float
) -> None:
    last_came_s = time.monotonic()
    before = _received(collector)
    while not is_over() and time.monotonic() - last_came_s < idle_exit_s:
        if collector.step(_STEP_S):
            last_came_s = time.monotonic()
            if count and _received(collector) - before >= count:
                return


def _received(collector: Collector) -> int:
    return sum(account.received for account in collector.ledger.totals())


def _report(collector: Collector, path: Path, *, as_json: bool) -> None:
    accounts = collector.ledger.totals()
    if as_json:
        report = {"stored": collector.stored, "path": str(path), "devices": accounts}
        click.echo(msgspec.json.encode(report).decode())
        return
    click.echo(f"{collector.stored} messages newly stored in {path}")
    for account in accounts:
        click.echo(_account_line(account))


def _account_line(account: SequenceTotals) -> str:
    return (
        f"{account.device} epoch {account.epoch}: {account.received} received"
        f" + {account.declared_lost} declared lost + {account.missing} missing"
        f" = {account.highest - account.earlier} produced"
        f" ({account.duplicates} sent twice, {account.earlier} before we joined)"
    )


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let SIGINT and SIGTERM end the loop in good order instead of in its middle."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda given, _frame: received.append(given))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
