"""The demo's box: an agent as a program of its own, a broker, and a collector into SQLite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import yaml

from edgehaul.clock import SystemClock
from edgehaul.errors import EXIT_OK, DeviceError
from edgehaul.messages.health import SpoolHealth
from edgehaul.sinks.sqlite import SqliteSink
from edgehaul.subscriber.client import Subscriber
from edgehaul.subscriber.collector import Collector, collected_topics
from edgehaul.subscriber.ordering import SequenceTotals
from edgehaul.virtual.conveyor import Conveyor
from edgehaul_tools.subscribe.embedded_broker import EmbeddedBroker

CAMERA, TRUCK, LINE = "dock-camera", "truck-gps", "exit"
DETECTOR, GPS_MODEL = "parcels", "driving"
_STEP_S = 0.2
_QUIET_S = 2.0
_STOP_TIMEOUT_S = 20.0

Watch = Callable[[int], None]
"""Told how many messages are stored so far."""


class _Report(msgspec.Struct, frozen=True):
    """What ``edgehaul-agent run --json`` prints at its end, as far as it is needed here."""

    spool: SpoolHealth


class BoxRun(msgspec.Struct, frozen=True):
    """How a run ended.

    Attributes:
        produced: What the device says it numbered, declared lost and still holds.
        collected: What the collector received.
    """

    produced: SpoolHealth
    collected: SequenceTotals


def write_device_config(
    path: Path, *, port: int, conveyor: Conveyor, frames: int, truck_seed: int, trip_s: float
) -> None:
    """Write ``device.yaml`` for a box with a virtual camera and a virtual truck.

    Args:
        path: The file; the device's root folder is ``device`` beside it.
        port: The broker's port on this machine.
        conveyor: The scene that the camera looks at.
        frames: Number of frames that it gives.
        truck_seed: Seed of the trip.
        trip_s: Length of the trip.
    """
    line = conveyor.counting_line()
    config = {
        "root": "device",
        "device": {"id": "box-1", "site": "demo"},
        "mqtt": {"host": "127.0.0.1", "port": port},
        "health": {"interval_s": 5.0},
        "streams": [
            {
                "name": CAMERA,
                "model": DETECTOR,
                "source": {
                    "type": "virtual_conveyor",
                    "seed": conveyor.seed,
                    "frames": frames,
                    "fps": conveyor.fps,
                    "width": conveyor.width,
                    "height": conveyor.height,
                },
                "lines": [
                    {
                        "name": LINE,
                        "points": [[line.start.x, line.start.y], [line.end.x, line.end.y]],
                    }
                ],
            }
        ],
        "gps": [
            {
                "name": TRUCK,
                "model": GPS_MODEL,
                "source": {"type": "virtual_truck", "seed": truck_seed, "duration_s": trip_s},
            }
        ],
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def run_box(
    config: Path, database: Path, *, broker: EmbeddedBroker, log: Path, watch: Watch
) -> BoxRun:
    """Run the agent until its streams end, and store everything that it publishes.

    Args:
        config: The device's configuration.
        database: SQLite file to collect into.
        broker: The running broker.
        log: File for the agent's own log.
        watch: Told of the progress.

    Returns:
        The device's own account and the collector's.

    Raises:
        DeviceError: The agent failed; its last line says why.
    """
    with (
        Subscriber("127.0.0.1", broker.port, filter=collected_topics()) as subscriber,
        SqliteSink(database) as sink,
        log.open("w") as log_stream,
    ):
        collector = Collector(subscriber, sink, name="demo")
        program = [sys.executable, "-m", "edgehaul_agent"]
        agent = subprocess.Popen(  # noqa: S603 - our own program
            [*program, "run", "--config", str(config), "--json"],
            stdout=subprocess.PIPE,
            stderr=log_stream,
            env=_one_thread_each(),
        )
        try:
            _collect_until_it_ends(agent, collector, watch)
        finally:
            _stop(agent)
        if agent.returncode != EXIT_OK:
            raise DeviceError(
                f"the agent ended with exit code {agent.returncode}: {_last_line(log)}", where=log
            )
        return BoxRun(_reported(agent), only_account(collector.ledger.totals(), log))


def only_account(totals: Sequence[SequenceTotals], log: Path) -> SequenceTotals:
    """Return the account of the one spool that the box has had.

    Raises:
        DeviceError: Nothing was received, or the box started its spool anew on the way.
    """
    if len(totals) != 1:
        raise DeviceError(
            f"messages of {len(totals)} spools were received instead of one",
            where=log,
            remedy="read the log, and run the demo again",
        )
    return totals[0]


def _collect_until_it_ends(
    agent: subprocess.Popen[bytes], collector: Collector, watch: Watch
) -> None:
    clock = SystemClock()
    quiet_since_s = clock.monotonic_s()
    while agent.poll() is None or clock.monotonic_s() - quiet_since_s < _QUIET_S:
        if collector.step(_STEP_S):
            quiet_since_s = clock.monotonic_s()
            watch(collector.stored)


def _stop(agent: subprocess.Popen[bytes]) -> None:
    if agent.poll() is not None:
        return
    agent.send_signal(signal.SIGTERM)
    try:
        agent.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        agent.wait()


def _reported(agent: subprocess.Popen[bytes]) -> SpoolHealth:
    assert agent.stdout is not None  # noqa: S101 - opened as a pipe
    return msgspec.json.decode(agent.stdout.read(), type=_Report).spool


def _one_thread_each() -> dict[str, str]:
    """Return an environment in which OpenCV and BLAS leave the cores to the model workers."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
