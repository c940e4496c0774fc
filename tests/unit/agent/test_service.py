"""What the agent tells systemd, Prometheus and whoever asks for its status."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehaul.config.device import DeviceConfig, MqttSection
from edgehaul.config.loader import load_text
from edgehaul.config.service import MetricsSection
from edgehaul.errors import ConfigError, DeviceError, UsageError
from edgehaul.messages.health import SourceHealth, SourceState, SpoolHealth, StreamHealth
from edgehaul.messages.payloads import HealthData
from edgehaul_agent.health import prometheus
from edgehaul_agent.health.metrics import LATENCY_BOUNDS_MS, Reason, StreamMetrics
from edgehaul_agent.health.probe import MachineReading
from edgehaul_agent.health.server import Page, PageServer, is_foreign
from edgehaul_agent.health.status import (
    BrokerStatus,
    RunningStatus,
    process_start,
    read_status,
    status_path,
    write_status,
)
from edgehaul_agent.health.systemd import Systemd
from edgehaul_agent.health.watchdog import Loop, Watchdog, moves_on
from edgehaul_agent.progress import Progress
from edgehaul_agent.reload import change
from tests.brokers import free_port
from tests.fakes.exposition import parse
from tests.fakes.notify_socket import NotifySocket
from tests.fakes.streams import FakeClock

# ---- systemd ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_is_told(kind: str, tmp_path: Path) -> None:
    address = str(tmp_path / "notify") if kind == "path" else f"@edgehaul-{os.getpid()}"
    with NotifySocket(address) as there:
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
        assert systemd.watchdog_s == 30
        systemd.ready()
        systemd.status("two\nlines")
        systemd.reloading()
        systemd.alive()
        systemd.stopping()
        ready, status, reloading, alive, stopping = there.read()
    assert (ready, status) == ("READY=1", "STATUS=two lines")
    assert (alive, stopping) == ("WATCHDOG=1", "STOPPING=1")
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", second)


def test_without_systemd_nothing_happens() -> None:
    systemd = Systemd({})
    systemd.ready()
    assert systemd.watchdog_s == 0


@pytest.mark.parametrize("extra", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_that_is_not_for_us_is_not_fed(extra: dict[str, str]) -> None:
    environment = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", **extra}
    assert Systemd(environment).watchdog_s == 0


def test_a_socket_that_is_gone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": "/nowhere/at/all"})
    systemd.ready()
    systemd.alive()
    assert caplog.text.count("systemd cannot be told") == 1


def test_the_watchdog_is_fed_only_while_every_loop_moves_on(tmp_path: Path) -> None:
    clock = FakeClock()
    spool, forwarder = Progress(clock), Progress(clock)
    loops = [
        Loop("spool", moves_on(spool.stuck_s, 30)),
        Loop("forwarder", moves_on(forwarder.stuck_s, 60)),
    ]
    address = str(tmp_path / "notify")
    with NotifySocket(address) as there:
        systemd = Systemd({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000"})
        watchdog = Watchdog(systemd, loops, clock)

        def seconds(count: int) -> int:
            before = len(there.read())
            for _ in range(count * 4):
                clock.sleep(0.25)
                watchdog.step()
                there.read()  # its queue is short
            return sum(text == "WATCHDOG=1" for text in there.read()[before:])

        assert seconds(20) == 10, "four times in its period"
        spool.working()
        assert seconds(30) == 15
        assert seconds(60) == 0
        assert watchdog.faults() == ["spool: stuck for 90 s"]
        assert there.has("STATUS=does not move on: spool: stuck for")
        spool.resting()
        assert seconds(20) == 10
        assert watchdog.faults() == []


def test_a_loop_at_rest_is_never_stuck() -> None:
    clock = FakeClock()
    progress = Progress(clock)
    clock.sleep(1e6)
    assert progress.stuck_s() == 0
    progress.working()
    clock.sleep(5)
    assert progress.stuck_s() == 5
    progress.working()
    assert progress.stuck_s() == 0


# ---- the status file ----------------------------------------------------------------------


def status(**changes: object) -> RunningStatus:
    fields: dict[str, object] = {
        "pid": os.getpid(),
        "process_started": process_start(os.getpid()),
        "version": "1",
        "started_at": "2026-01-01T00:00:00.000Z",
        "written_at": "2026-01-01T00:00:00.000Z",
        "written_at_s": 1000.0,
        "interval_s": 30.0,
        "health": HealthData(uptime_s=1, rss_mb=2),
        "broker": BrokerStatus(address="b:1", connected=True),
    }
    return RunningStatus(**(fields | changes))


def test_the_status_is_read_as_written(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    write_status(tmp_path, status())
    write_status(tmp_path, status(version="2"))
    read = read_status(tmp_path)
    assert read == status(version="2")
    assert [path.name for path in status_path(tmp_path).parent.iterdir()] == ["status.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"pid": "x"}'])
def test_a_damaged_status_is_said_to_be(content: bytes, tmp_path: Path) -> None:
    status_path(tmp_path).parent.mkdir()
    status_path(tmp_path).write_bytes(content)
    with pytest.raises(DeviceError, match="no status of an agent"):
        read_status(tmp_path)


def test_a_process_that_is_gone_or_another_is_dead() -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    assert status(pid=int(gone.stdout)).life(1001) == "dead"
    assert status(process_started=1).life(1001) == "dead", "another process has the same number"
    assert status().life(1001) == "running"
    assert status().life(1000 + 3 * 30 + 16) == "stale"
    assert status(stopped=True, pid=1).life(1e9) == "stopped"


# ---- Prometheus ---------------------------------------------------------------------------


class NoLosses:
    def __init__(self, dropped: int = 0, bad: int = 0) -> None:
        self._counts = (dropped, bad)

    def lost(self) -> dict[Reason, int]:
        dropped, bad = self._counts
        return {"queue": dropped, "hours": 4, "unusable": bad}

    def reconnects(self) -> int:
        return 2


def vitals(streams: dict[str, StreamMetrics], **machine: float) -> prometheus.Vitals:
    return prometheus.Vitals(
        version="1.2",
        started_at_s=1.7e9,
        read_at_s=1.8e9,
        machine=MachineReading(cpu_s=3.5, rss_mb=50, disk_free_mb=10, **machine),
        streams={n: prometheus.StreamVitals(m.total(), m.histogram()) for n, m in streams.items()},
        spool=SpoolHealth(pending=4, pending_bytes=400, produced=9, declared_lost=1),
        connected=True,
    )


def test_the_page_has_every_counter() -> None:
    metrics = StreamMetrics(FakeClock(), NoLosses(3, 2))
    for latency_ms in (0.5, 1.0, 1.5, 7.0, 9000.0):
        metrics.processed(latency_ms)
    metrics.restarts = 2
    page = parse(prometheus.page(vitals({"dock": metrics}, temperature_c=41.5)))
    dock = ("stream", "dock")
    frames = page["edgehaul_stream_frames_total"]
    assert frames[dock, ("outcome", "processed")] == 5
    assert frames[dock, ("outcome", "dropped")] == 3
    assert frames[dock, ("outcome", "gated")] == 4
    assert frames[dock, ("outcome", "bad")] == 2
    assert page["edgehaul_stream_restarts_total"][(dock,)] == 2
    buckets = page["edgehaul_stream_latency_seconds_bucket"]
    assert buckets[dock, ("le", "0.001")] == 2
    assert buckets[dock, ("le", "0.002")] == 3
    assert buckets[dock, ("le", "5")] == 4
    assert buckets[dock, ("le", "+Inf")] == 5
    assert page["edgehaul_stream_latency_seconds_sum"][(dock,)] == pytest.approx(9.01)
    assert page["edgehaul_spool_pending_messages"][()] == 4
    assert page["process_resident_memory_bytes"][()] == 50 * 1024 * 1024
    assert page["process_cpu_seconds_total"][()] == 3.5
    assert page["edgehaul_temperature_celsius"][()] == 41.5
    assert page["edgehaul_broker_connected"][()] == 1


def test_the_page_tells_of_each_source() -> None:
    source = SourceHealth(state="black", reconnects=3, frame_age_s=2.5)
    health = StreamHealth(dropped_by={"policy": 7, "hours": 1}, source=source)
    stream = prometheus.StreamVitals(health, StreamMetrics(FakeClock()).histogram())
    told = msgspec.structs.replace(vitals({}), streams={"dock": stream})
    page = parse(prometheus.page(told))
    dock = ("stream", "dock")
    states = page["edgehaul_source_state"]
    assert {dict(labels)["state"] for labels in states} == set(get_args(SourceState))
    assert [labels for labels, value in states.items() if value] == [(dock, ("state", "black"))]
    assert page["edgehaul_source_reconnects_total"][(dock,)] == 3
    assert page["edgehaul_source_last_frame_timestamp_seconds"][(dock,)] == 1.8e9 - 2.5
    assert page["edgehaul_stream_frames_lost_total"] == {
        (dock, ("reason", "policy")): 7,
        (dock, ("reason", "hours")): 1,
    }


def test_a_page_without_streams_is_one_too() -> None:
    assert "edgehaul_stream_frames_total" not in parse(prometheus.page(vitals({})))


@given(names=st.sets(st.text(min_size=1, max_size=8), max_size=4))
def test_any_name_stands_in_a_label(names: set[str]) -> None:
    streams = {name: StreamMetrics(FakeClock(), NoLosses()) for name in names}
    samples = parse(prometheus.page(vitals(streams)))
    told = {dict(labels)["stream"] for labels in samples.get("edgehaul_stream_running", {})}
    assert told == names


@given(st.lists(st.floats(0, 1e5), max_size=50))
def test_each_latency_is_in_one_class(latencies_ms: list[float]) -> None:
    metrics = StreamMetrics(FakeClock(), NoLosses())
    for latency_ms in latencies_ms:
        metrics.processed(latency_ms)
    histogram = metrics.histogram()
    for bound_ms, upper in zip(LATENCY_BOUNDS_MS, range(1, 100), strict=False):
        assert sum(histogram.counts[:upper]) == sum(x <= bound_ms for x in latencies_ms)
    assert sum(histogram.counts) == len(latencies_ms)


def test_counters_go_on_with_another_run() -> None:
    metrics = StreamMetrics(FakeClock())
    assert metrics.total() == StreamHealth(state="running")
    metrics.follow(NoLosses(3, 1))
    metrics.processed(1.0)
    metrics.follow(NoLosses(4, 0))
    health = metrics.total()
    assert (health.frames, health.processed, health.dropped, health.bad) == (17, 1, 7, 1)
    assert health.gated == 8
    assert health.dropped_by == {"queue": 7, "hours": 8, "unusable": 1}
    assert health.source.reconnects == 4


# ---- the server ---------------------------------------------------------------------------


def get(port: int, path: str, host: str = "127.0.0.1", method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content


@pytest.fixture
def served() -> object:
    pages = {
        "/metrics": lambda: Page(b"up 1\n"),
        "/healthz": lambda: Page(b"no\n", status=HTTPStatus.SERVICE_UNAVAILABLE),
    }
    with PageServer("127.0.0.1", 0, pages) as server:
        yield server.port


def test_only_the_pages_are_there(served: int) -> None:
    assert get(served, "/metrics") == (200, b"up 1\n")
    assert get(served, "/metrics?name=x") == (200, b"up 1\n")
    assert get(served, "/healthz") == (503, b"no\n")
    for path in ("/", "/metrics/", "/metricsx", "/../etc/passwd", "/status.json"):
        assert get(served, path)[0] == 404
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        assert get(served, "/metrics", method=method)[0] == 501


def test_a_foreign_name_is_refused(served: int) -> None:
    assert get(served, "/metrics", host="evil.example:80")[0] == 421
    assert get(served, "/metrics", host="localhost:1")[0] == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("localhost", False),
        ("127.0.0.1:9", False),
        ("[::1]:9", False),
        ("[::1]", False),
        ("127.0.0.1.evil.example", True),
        ("evil.example:80", True),
    ],
)
def test_foreign_names(header: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_foreign(header) is expected


@pytest.mark.parametrize(
    "request_",
    [b"", b"GET\r\n\r\n", b"\x16\x03\x01\x00", b"GET /" + b"a" * 70_000, b"GET / HTTP/9.9\r\n\r\n"],
)
def test_rubbish_does_not_hinder_the_next(request_: bytes, served: int) -> None:
    with socket.create_connection(("127.0.0.1", served), timeout=10) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    assert get(served, "/metrics")[0] == 200


@pytest.mark.slow
def test_who_sends_slowly_does_not_hold_the_server_for_ever(served: int) -> None:
    with socket.create_connection(("127.0.0.1", served), timeout=10) as connection:
        started_s = time.monotonic()
        connection.sendall(b"GET /met")
        waiting = get(served, "/metrics")
        assert waiting[0] == 200
        assert 3 < time.monotonic() - started_s < 9


def test_a_port_that_is_taken_is_told() -> None:
    port = free_port()
    with (
        PageServer("127.0.0.1", port, {}),
        pytest.raises(DeviceError, match=rf"127\.0\.0\.1:{port}: cannot listen: address already"),
    ):
        PageServer("127.0.0.1", port, {})


def test_a_server_of_the_other_kind_of_address() -> None:
    try:
        server = PageServer("::1", 0, {"/healthz": lambda: Page(b"ok\n")})
    except DeviceError:
        pytest.skip("this machine has no IPv6 loopback")
    with server:
        connection = http.client.HTTPConnection("::1", server.port, timeout=10)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        connection.close()


# ---- the configuration --------------------------------------------------------------------

CONFIG = """
root: device
device: {id: box-1, site: depot}
streams:
  - {name: dock, model: parcels, source: {type: virtual_conveyor}}
"""


def config(more: str = "") -> DeviceConfig:
    return load_text(CONFIG + more, DeviceConfig)


def test_what_a_running_agent_takes_over() -> None:
    wanted = config("""
health: {interval_s: 5}
supervision: {stall_timeout_s: 9}
mqtt: {port: 1884}
metrics: {port: 9464}
gps: [{name: van, source: {type: gpsd}}]
""")
    taken, deferred = change(config(), wanted)
    assert deferred == ("mqtt", "metrics")
    assert taken.mqtt == MqttSection()
    assert taken.metrics == MetricsSection()
    assert (taken.health, taken.supervision, taken.gps) == (
        wanted.health,
        wanted.supervision,
        wanted.gps,
    )
    assert change(config(), config()) == (config(), ())


def test_a_configuration_without_a_stream_is_not_taken_over() -> None:
    with pytest.raises(UsageError, match="names no stream"):
        change(config(), msgspec.structs.replace(config(), streams=()))


@pytest.mark.parametrize(
    "section",
    [
        "metrics: {host: box.example}",
        "metrics: {port: 70000}",
        "preview: {fps: 0}",
        "supervision: {stall_timeout_s: 0.1}",
        "supervision: {retry: 3}",
    ],
)
def test_sections_that_cannot_be_meant_are_refused(section: str) -> None:
    with pytest.raises(ConfigError, match="<text>:6:"):
        config(section)
