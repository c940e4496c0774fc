"""Live receivers on real ports and sockets: read, lost, found again, and let go at once."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgehaul.clock import SystemClock
from edgehaul.config.device import DeviceConfig, GpsConfig
from edgehaul.config.loader import load_text
from edgehaul.config.receivers import (
    GpsdSource,
    LiveReceiver,
    NmeaSerialSource,
    NmeaTcpSource,
    NmeaUdpSource,
)
from edgehaul.errors import SourceError
from edgehaul.messages.topics import DeviceTopics
from edgehaul.values import Fix
from edgehaul_agent.app import StoppableClock
from edgehaul_agent.assembly import Assembly
from edgehaul_agent.checks import check_device
from edgehaul_agent.outlet import StreamOutlet
from edgehaul_agent.pipeline.gps import GpsPipeline
from edgehaul_agent.sources.base import FixSource
from edgehaul_agent.sources.factory import fix_source
from edgehaul_agent.sources.nmea import NmeaSpeech
from tests.fakes.receivers import PseudoPort, TcpReceiver, epoch, first_fixes, sentence, speaking
from tests.fakes.streams import MemoryOutbox

GPSD = shutil.which("gpsd") or shutil.which("gpsd", path="/usr/sbin")


def opened(source: LiveReceiver, folder: Path, *, patience_s: float | None = None) -> FixSource:
    config = GpsConfig(name="truck", source=source)
    return fix_source(config, folder=folder, clock=SystemClock(), patience_s=patience_s)


@pytest.fixture
def server() -> Iterator[TcpReceiver]:
    receiver = TcpReceiver()
    yield receiver
    receiver.close()


def check(fixes: list[Fix], count: int) -> None:
    """Assert that these are so many fixes of now, each whole and at a moment of its own."""
    assert len(fixes) == count
    times_s = [fix.captured_at_s for fix in fixes]
    assert times_s == sorted(set(times_s))
    assert all(abs(time_s - time.time()) < 60 for time_s in times_s)
    for fix in fixes:
        assert 51.5 < fix.latitude_deg < 52.0
        assert fix.longitude_deg == pytest.approx(-0.2)
        assert fix.speed_mps == pytest.approx(10.0, abs=0.01)
        assert fix.heading_deg == pytest.approx(84.4)
        assert fix.altitude_m == 12.5
        assert fix.accuracy_m is not None


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name.startswith("edgehaul_agent")]


def test_tcp_and_a_server_that_hangs_up(
    server: TcpReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = opened(NmeaTcpSource(host="127.0.0.1", port=server.port), tmp_path)
    with caplog.at_level(logging.INFO), source, speaking(server.say):
        check(first_fixes(source, 12, after=server.hang_up), 12)
    name = f"tcp 127.0.0.1:{server.port}"
    closed = "the other end has closed the connection; trying again until it is back"
    assert messages(caplog) == [f"{name}: receiving", f"{name}: {closed}", f"{name}: receiving"]
    assert source.bad() == 0


def test_tcp_and_an_end_that_is_gone_without_a_word(server: TcpReceiver, tmp_path: Path) -> None:
    source = opened(NmeaTcpSource(host="127.0.0.1", port=server.port, silence_s=2.0), tmp_path)
    quiet = threading.Event()
    with source, speaking(lambda data: quiet.is_set() or server.say(data)):

        def go_quiet() -> None:
            quiet.set()
            threading.Timer(3.0, quiet.clear).start()

        check(first_fixes(source, 8, after=go_quiet), 8)
    assert server.accepted >= 2


def test_udp_hears_one_sender_and_sentences_in_parts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in "ab"
        )
        second.bind(("127.0.0.2", 0))

        def say(data: bytes) -> None:
            data = b"\x00!AIVDM,1,1,,A,x,0*00\r\n" + data.replace(b"\r\n", b"")
            for at in range(0, len(data), 50):
                first.sendto(data[at : at + 50], ("127.0.0.1", port))
            second.sendto(epoch(time.time(), north=9000), ("127.0.0.1", port))

        source = stack.enter_context(opened(NmeaUdpSource(port=port), tmp_path))
        stack.enter_context(speaking(say))
        fixes = first_fixes(source, 6)
    check(fixes, 6)
    assert all(fix.latitude_deg < 51.55 for fix in fixes)
    assert messages(caplog) == ["datagrams of 127.0.0.2 are passed over while 127.0.0.1 sends"]


def test_a_serial_port_that_is_pulled_out_and_put_in_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = PseudoPort(tmp_path / "gps")
    lock, source = threading.Lock(), opened(NmeaSerialSource(path="gps", baud=4800), tmp_path)

    def say(data: bytes) -> None:
        with lock:
            port.write(data)

    def replug() -> None:
        with lock:
            port.unplug()
        threading.Timer(1.0, port.plug).start()

    with caplog.at_level(logging.INFO), source, speaking(say):
        check(first_fixes(source, 12, after=replug), 12)
        with port.path.open("rb") as tty:
            assert termios.tcgetattr(tty)[4:6] == [termios.B4800] * 2
    states = ["up" if m.endswith("receiving") else "lost" for m in messages(caplog)]
    assert states == ["up", "lost", "up"]
    port.unplug()


@contextmanager
def gpsd(port: int, *devices: Path) -> Iterator[None]:
    names = [str(device.resolve()) for device in devices]
    command = [str(GPSD), "-N", "-n", "-b", "-S", str(port), *names]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.skipif(GPSD is None, reason="gpsd is not installed; run: apt-get install gpsd")
def test_a_real_gpsd_that_is_started_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        tcp_port = free.getsockname()[1]
    moving, silent = PseudoPort(tmp_path / "moving"), PseudoPort(tmp_path / "silent")
    source = opened(GpsdSource(port=tcp_port), tmp_path)
    with source, speaking(moving.write, every_s=0.5):
        for _ in range(2):
            with gpsd(tcp_port, moving.path, silent.path):
                check(first_fixes(source, 3), 3)
    wrong = GpsdSource(port=tcp_port, device=str(silent.path.resolve()))
    with (
        gpsd(tcp_port, moving.path, silent.path),
        speaking(moving.write, every_s=0.5),
        opened(wrong, tmp_path, patience_s=4.0) as source,
        pytest.raises(SourceError) as told,
    ):
        first_fixes(source, 1)
    assert f"name one of those that have: {moving.path.resolve()}" in str(told.value)
    caplog.clear()
    with (
        caplog.at_level(logging.INFO),
        gpsd(tcp_port, silent.path),
        opened(GpsdSource(port=tcp_port, silence_s=2.0), tmp_path, patience_s=6.0) as source,
        pytest.raises(SourceError, match="gpsd answers, but its receivers say nothing"),
    ):
        first_fixes(source, 1)
    assert "nothing came" not in caplog.text, "gpsd answers when it is asked"
    moving.unplug()
    silent.unplug()


NO_FIX = sentence("GPRMC,,V,,,,,,,,,,N")


@contextmanager
def full_server() -> Iterator[int]:
    """Give the port of a server that answers nobody: its queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003 - the standard library's
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("state", ["dials", "rests", "hears nothing", "has no fix"])
def test_a_stop_ends_it_within_a_second(state: str, server: TcpReceiver, tmp_path: Path) -> None:
    with ExitStack() as stack:
        port = 1 if state == "rests" else server.port
        if state == "dials":
            port = stack.enter_context(full_server())
        if state == "has no fix":
            stack.enter_context(speaking(lambda _: server.say(NO_FIX)))
        stop, outbox = threading.Event(), MemoryOutbox()
        config = GpsConfig(name="truck", source=NmeaTcpSource(host="127.0.0.1", port=port))
        clock = StoppableClock(stop)
        pipeline = GpsPipeline(
            config,
            source=fix_source(config, folder=tmp_path, clock=clock),
            model=None,
            outlet=StreamOutlet(outbox, DeviceTopics("s", "d"), "truck"),
            clock=clock,
        )
        with pipeline:
            thread = threading.Thread(target=pipeline.run, args=(stop,))
            thread.start()
            thread.join(0.8)
            assert thread.is_alive()
            stopped_s = time.monotonic()
            stop.set()
            thread.join(10)
        assert time.monotonic() - stopped_s < 1.0


NO_DATE = b"".join(sentence(f"GPGGA,12000{i},5130.0,N,00012.0,W,1,08,0.9,1,M,1,M,,") for i in "012")
OLD = b"".join(sentence(f"GPRMC,12000{i},A,5130.0,N,00012.0,W,1,1,210406,,,A") for i in "012")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"", "no connection yet|nothing came"),
        (b"\xf0\x0f\x80" * 9, "bytes come, but no whole NMEA sentence after 1 s; check baud rate"),
        (NO_FIX, "sentences come, but no position after 1 s; let the"),
        (NO_DATE, "positions come without a date after 1 s; let the receiver write RMC or ZDA"),
        (
            OLD,
            "fixes have a date that is past after 1 s; set this machine's clock, or the receiver's",
        ),
    ],
)
def test_a_check_says_in_time_what_is_missing(
    said: bytes, told: str, server: TcpReceiver, tmp_path: Path
) -> None:
    source = opened(NmeaTcpSource(host="127.0.0.1", port=server.port), tmp_path, patience_s=1.0)
    begun_s = time.monotonic()
    speaks = speaking(lambda _: server.say(said))
    with source, speaks, pytest.raises(SourceError, match=told):
        first_fixes(source, 1)
    assert time.monotonic() - begun_s < 3.0


def test_check_tries_a_live_receiver(server: TcpReceiver, tmp_path: Path) -> None:
    text = f"""\
root: here
device: {{id: truck-1, site: road}}
mqtt: {{port: 1}}
gps: [{{name: gnss, source: {{type: nmea_tcp, host: 127.0.0.1, port: {server.port}}}}}]
"""
    assembly = Assembly(load_text(text, DeviceConfig, where="d.yaml"), tmp_path)
    with speaking(server.say):
        (result, _broker) = check_device(assembly, SystemClock())
    assert (result.kind, result.name, result.exit_code) == ("source", "gnss", 0)
    assert result.detail.startswith("nmea_tcp, starts at 51.5")


def test_half_a_sentence_and_the_date_end_with_the_connection() -> None:
    speech, now_s = NmeaSpeech(require_checksum=True), time.time()
    said = epoch(now_s)
    assert speech.take(said + epoch(now_s + 1)[:20], 0.0) == []
    assert len(speech.begin()) == 1
    gga = said.splitlines(keepends=True)[2]
    assert speech.take(epoch(now_s + 1)[20:60] + gga, 1.0) + speech.begin() == []
    assert speech.bad() == 1, "a fix without a date"
