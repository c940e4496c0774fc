from __future__ import annotations

import threading
from pathlib import Path

import pytest

from edgehaul.errors import SpoolError
from edgehaul.messages.health import SpoolHealth
from edgehaul.messages.payloads import HealthData
from edgehaul_agent.health.heartbeat import Heartbeat
from edgehaul_agent.health.metrics import Reason, StreamMetrics
from edgehaul_agent.health.probe import LinuxProbe, MachineReading
from tests.fakes.streams import FakeClock


class SomeLosses:
    def lost(self) -> dict[Reason, int]:
        return {"stride": 1, "policy": 2, "motion": 0, "undecodable": 2}

    def reconnects(self) -> int:
        return 4


class ScriptedProbe:
    def __init__(self) -> None:
        self.cpu_s = 1.0

    def read(self) -> MachineReading:
        return MachineReading(cpu_s=self.cpu_s, rss_mb=50.0, disk_free_mb=1000.0)


def test_metrics_count_all_and_measure_the_last_interval() -> None:
    clock = FakeClock()
    metrics = StreamMetrics(clock, SomeLosses())
    for latency_ms in range(1, 101):
        metrics.processed(float(latency_ms))
    clock.sleep(10)
    health = metrics.take()
    assert (health.frames, health.processed, health.dropped, health.bad) == (105, 100, 3, 2)
    assert health.dropped_by == {"stride": 1, "policy": 2, "undecodable": 2}
    assert (health.fps, health.fps_in) == (10.0, 10.5)
    assert health.source.reconnects == 4
    assert health.latency_p50_ms == pytest.approx(50.5)
    assert health.latency_p99_ms == pytest.approx(99.01)
    clock.sleep(10)
    health = metrics.take()
    assert (health.processed, health.fps, health.latency_p99_ms) == (100, 0.0, 0.0)
    assert health.fps_in == 0.0
    total = metrics.total()
    assert (total.frames, total.fps, total.latency_p50_ms) == (105, 5.0, 50.5)


def test_what_a_run_has_counted_outlives_it() -> None:
    """The run itself is let go with its model; counters never go back."""
    metrics = StreamMetrics(FakeClock())
    for number in (1, 2):
        run = SomeLosses()
        metrics.follow(run)
        for let_go in (False, True):
            if let_go:
                metrics.let_go(run)
            health = metrics.take()
            assert (health.dropped, health.bad) == (3 * number, 2 * number)
            assert health.source.reconnects == 4 * number
    metrics.let_go(SomeLosses())  # of another run
    assert metrics.take().source.reconnects == 8


def heartbeat(
    told: list[HealthData], clock: FakeClock, probe: ScriptedProbe, *, interval_s: float = 1e6
) -> Heartbeat:
    return Heartbeat(
        told.append,
        streams=lambda: {"dock": StreamMetrics(clock, SomeLosses())},
        spool=lambda: SpoolHealth(produced=7),
        probe=probe,
        clock=clock,
        interval_s=interval_s,
    )


def test_a_heartbeat_tells_how_the_device_is() -> None:
    told: list[HealthData] = []
    clock, probe = FakeClock(), ScriptedProbe()
    beating = heartbeat(told, clock, probe)
    clock.sleep(20)
    probe.cpu_s += 5
    beating.beat()
    (health,) = told
    assert (health.uptime_s, health.cpu_percent, health.rss_mb) == (20, 25, 50)
    assert health.streams["dock"].dropped == 3
    assert health.spool.produced == 7


def test_it_beats_by_itself_and_once_at_the_end() -> None:
    told: list[HealthData] = []
    with heartbeat(told, FakeClock(), ScriptedProbe()):
        pass
    assert len(told) == 1
    enough = threading.Event()

    class Waiting(list[HealthData]):
        def append(self, value: HealthData) -> None:
            super().append(value)
            if len(self) >= 3:
                enough.set()

    with heartbeat(Waiting(), FakeClock(), ScriptedProbe(), interval_s=0.01):
        assert enough.wait(10)


def test_a_full_disk_does_not_stop_the_heart(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(_health: HealthData) -> None:
        raise SpoolError("disk full")

    clock = FakeClock()
    beating = Heartbeat(
        refuse, streams=dict, spool=SpoolHealth, probe=ScriptedProbe(), clock=clock, interval_s=1
    )
    beating.beat()
    assert "disk full" in caplog.text


def test_the_machine_is_read(tmp_path: Path) -> None:
    reading = LinuxProbe(tmp_path).read()
    assert reading.rss_mb > 5
    assert reading.disk_free_mb > 0
    assert reading.cpu_s > 0
    assert LinuxProbe(tmp_path / "gone").read().disk_free_mb == 0
