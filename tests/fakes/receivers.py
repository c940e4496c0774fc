"""Receivers that speak NMEA 0183 of the present moment, on real sockets and ports."""

import functools
import operator
import os
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from edgehaul.clock import SystemClock
from edgehaul.values import Fix
from edgehaul_agent.sources.base import FixSource
from tests.fakes.streams import FakeClock


def sentence(body: str) -> bytes:
    """Return a sentence with its checksum and the end of its line."""
    return f"${body}*{functools.reduce(operator.xor, body.encode()):02X}\r\n".encode()


def epoch(at_s: float, *, north: int = 0) -> bytes:
    """Return all that a receiver says of one moment.

    Args:
        at_s: The moment, UTC seconds since 1970; its hundredths are told.
        north: How far it is north of its start, in thousandths of a minute.
    """
    moment = datetime.fromtimestamp(at_s, UTC)
    time_of_day = moment.strftime("%H%M%S.%f")[:-4]
    place = f"51{30 + north / 1000:06.3f},N,00012.000,W"
    return (
        sentence(f"GPRMC,{time_of_day},A,{place},19.438,84.4,{moment:%d%m%y},,,A")
        + sentence("GPVTG,84.4,T,,M,19.438,N,36.0,K,A")
        + sentence(f"GPGGA,{time_of_day},{place},1,08,0.9,12.5,M,46.9,M,,")
        + sentence("GPGSA,A,3,01,02,03,04,05,06,07,08,,,,,2.5,0.9,2.1")
    )


class ScriptedWire:
    """A wire that gives these pieces, then nothing.

    Args:
        clock: Passes while nothing comes.
        pieces: They; ``!`` breaks the wire, none (``b""``) is a wait.
        answers: How many probes are answered.
    """

    def __init__(self, clock: FakeClock, pieces: Sequence[bytes], *, answers: int = 0) -> None:
        self.sent: list[bytes] = []
        self.closed = 0
        self._clock = clock
        self._pieces = list(pieces)
        self._answers = answers

    def read(self, timeout_s: float) -> bytes:
        """Return the next piece."""
        if self._pieces and self._pieces[0] == b"!":
            raise ConnectionResetError(104, "Connection reset by peer")
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece:
            return piece
        self._clock.sleep(timeout_s)
        return b""

    def write(self, data: bytes) -> None:
        """Keep what is sent."""
        self.sent.append(data)
        if data == b"probe" and self._answers:
            self._answers -= 1
            self._pieces.append(b"answer")

    def close(self) -> None:
        """Count it."""
        self.closed += 1


class PseudoPort:
    """A serial port that can be pulled out and put in again.

    Args:
        path: Where the port is found, as long as it is plugged in.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: tuple[int, int] | None = None
        self.plug()

    def plug(self) -> None:
        """Put it in."""
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        Path(os.ttyname(theirs)).chmod(0o666)
        self.path.symlink_to(os.ttyname(theirs))
        self._ends = (ours, theirs)

    def unplug(self) -> None:
        """Pull it out."""
        if self._ends is not None:
            self.path.unlink()
            for end in self._ends:
                os.close(end)
            self._ends = None

    def write(self, data: bytes) -> None:
        """Say something; nobody need listen."""
        if self._ends is not None:
            os.write(self._ends[0], data)


@contextmanager
def speaking(say: Callable[[bytes], object], *, every_s: float = 0.1) -> Iterator[None]:
    """Let a receiver tell where it is, again and again, for as long as the context lasts."""
    stop = threading.Event()

    def speak() -> None:
        north = 0
        while not stop.wait(every_s):
            north += 1
            say(epoch(time.time(), north=north))

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class TcpReceiver:
    """A server that tells everyone who connects the same.

    Args:
        port: The port; 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self.accepted = 0
        self._clients: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        """Tell all who are connected."""
        for client in list(self._clients):
            try:
                client.sendall(data)
            except OSError:
                self._clients.remove(client)
                client.close()

    def hang_up(self) -> None:
        """Close all connections, and take new ones."""
        while self._clients:
            self._clients.pop().close()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            self.accepted += 1
            self._clients.append(client)


def first_fixes(
    source: FixSource,
    count: int,
    *,
    within_s: float = 20.0,
    after: Callable[[], None] | None = None,
) -> list[Fix]:
    """Return the next fixes of a source that is open.

    Args:
        source: It.
        count: How many.
        within_s: Longest wait.
        after: Called once, after half of them.
    """
    found: list[Fix] = []
    until_s = SystemClock().monotonic_s() + within_s
    for fix in source.fixes():
        if fix is not None:
            found.append(fix)
            if after is not None and len(found) == count // 2:
                after()
        if len(found) == count or SystemClock().monotonic_s() > until_s:
            break
    return found
