"""A truck's agent is killed in the middle of a trip: the trip goes on, and so does the odometer."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest
import yaml

from edgehaul.messages.vehicle import TripEvent
from edgehaul.motion.fixes import write_csv
from edgehaul.values import Fix
from edgehaul_agent.events.memory import VehicleMemory
from edgehaul_agent.pipeline.logbook import logbook_path
from tests.brokers import Mosquitto
from tests.fakes.parking import driven
from tests.fakes.running import RunningCollector, wait_until

INTERVAL_S = 0.25
SAVE_S = 1.0
SPEED_MPS = 20.0
SPEEDS = [*[0.0] * 8, *[SPEED_MPS] * 100, *[0.0] * 60]
AWAY = 12
"""Fixes that nobody receives while the agent is away: more than a gap."""


def fast(fixes: Sequence[Fix]) -> list[Fix]:
    """Return a drive of four fixes a second from one of a fix a second, four times as fast."""
    start_s = 1_790_000_000.0
    return [
        msgspec.structs.replace(
            fix, captured_at_s=start_s + fix.captured_at_s * INTERVAL_S, speed_mps=4 * speed_mps
        )
        for fix in fixes
        if (speed_mps := fix.speed_mps) is not None
    ]


DRIVE = fast(driven([speed_mps / 4 for speed_mps in SPEEDS]))
WAY_M = float(np.sum(SPEEDS)) * INTERVAL_S


def configured(folder: Path, port: int, fixes: Sequence[Fix]) -> list[str]:
    write_csv(folder / "trip.csv", tuple(fixes))
    trips = {"stop_after_s": 10, "gap_after_s": 2, "least_duration_s": 2, "save_every_s": SAVE_S}
    source = {"type": "trace", "path": "trip.csv", "realtime": True}
    content = {
        "root": "device",
        "device": {"id": "truck-1", "site": "test"},
        "mqtt": {"port": port},
        "gps": [{"name": "gnss", "source": source, "trips": trips}],
    }
    config = folder / "device.yaml"
    config.write_text(yaml.safe_dump(content))
    return [sys.executable, "-m", "edgehaul_agent", "run", "--config", str(config), "--json"]


def driven_until(folder: Path, index: int) -> int:
    """Return the last fix that is kept, once the agent has come so far; else nothing."""
    try:
        content = logbook_path(folder / "device", "gnss").read_bytes()
    except FileNotFoundError:
        return 0
    memory = msgspec.json.decode(content, type=VehicleMemory)
    if memory.last is None or memory.trip is None or not memory.trip.is_told:
        return 0
    last = round((memory.last.time_s - DRIVE[0].captured_at_s) / INTERVAL_S)
    return last if last >= index else 0


def has_come(folder: Path, index: int) -> bool:
    return driven_until(folder, index) > 0


def trips(database: Path) -> list[TripEvent]:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        rows = opened.execute(
            "SELECT json_extract(data, '$.event') FROM messages"
            " WHERE type = 'edgehaul.event.v1' ORDER BY sequence"
        ).fetchall()
    return [msgspec.json.decode(row[0], type=TripEvent) for row in rows]


@pytest.mark.broker
@pytest.mark.slow
def test_a_trip_and_the_odometer_go_on_over_kills(tmp_path: Path) -> None:
    database = tmp_path / "results.db"
    with Mosquitto(tmp_path / "broker") as broker, RunningCollector(broker.port, database):
        first = 0
        kept = [0]
        for wanted in (45, 85):
            command = configured(tmp_path, broker.port, DRIVE[first:])
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as p:
                wait_until(partial(has_come, tmp_path, wanted), timeout_s=60)
                p.send_signal(signal.SIGKILL)
            kept.append(driven_until(tmp_path, wanted))
            # What the killed agent has seen since its last write, and nobody receives.
            first = kept[-1] + AWAY
        command = configured(tmp_path, broker.port, DRIVE[first:])
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        start, end = trips(database)
    assert (start.phase, end.phase, end.ended_by) == ("start", "end", "stop")
    assert end.started_at == start.started_at
    assert end.gaps == 2
    step_m = SPEED_MPS * INTERVAL_S
    assert end.gap_m == pytest.approx(2 * AWAY * step_m, abs=2 * step_m)
    assert end.odometer_m == end.distance_m
    assert abs(WAY_M - end.gap_m - end.odometer_m) <= SPEED_MPS * SAVE_S
