"""A real RTSP camera to do harm to: GStreamer's server, and a line to it that can be disturbed."""

import random
import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
_SCRIPT = Path(__file__).with_name("rtsp_camera.py")
_TRY = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0');"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
    "assert all(map(Gst.ElementFactory.find, ['x264enc', 'rtph264pay', 'videotestsrc']))"
)


def why_no_camera() -> str:
    """Return what keeps the camera from running here; empty for nothing."""
    if shutil.which(SYSTEM_PYTHON) is None:
        return f"there is no {SYSTEM_PYTHON}"
    tried = subprocess.run([SYSTEM_PYTHON, "-c", _TRY], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"no RTSP server here; apt-get install {PACKAGES}"


def free_port() -> int:
    """Return a port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class RtspCamera:
    """The camera; it serves ``/live``, 320 x 240 at 10 frames a second, H.264."""

    def __init__(self, port: int, *, user: str = "", password: str = "") -> None:
        self.port = port
        self._arguments = [str(port), *([user, password] if user else [])]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, _SCRIPT, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Take its power away."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def show(self, pattern: str) -> None:
        """Show ``ball`` (moves), ``smpte75`` (stands still) or ``black``."""
        self._tell(f"pattern {pattern}")

    def resize(self, width: int, height: int) -> None:
        """Change the resolution within the stream."""
        self._tell(f"size {width} {height}")

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class Line:
    """A line to a camera that can be held up, and on which timestamps can be changed.

    Attributes:
        shift: Added to the RTP timestamps of the video that comes, in 1/90000 s.
        last_timestamp: That of the newest packet, as the camera sent it.
        noise: Chance that a packet of the video comes with a few bits turned.
        connections: How many there were.
    """

    def __init__(self, to_port: int) -> None:
        self.shift = 0
        self.last_timestamp = 0
        self.noise = 0.0
        self._chance = random.Random(1)
        self.connections = 0
        self._to_port = to_port
        self._gates: list[threading.Event] = []
        self._is_cut = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, *, new_ones_too: bool) -> None:
        """Stop forwarding without a word, as when a cable or a router dies."""
        self._is_cut = new_ones_too
        for gate in self._gates:
            gate.clear()

    def mend(self) -> None:
        """Let new connections through; the held ones stay held."""
        self._is_cut = False

    def close(self) -> None:
        """Take no more connections."""
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                self.connections += 1
                gate = threading.Event()
                if not self._is_cut:
                    gate.set()
                self._gates.append(gate)
                threading.Thread(target=self._join, args=(near, gate), daemon=True).start()

    def _join(self, near: socket.socket, gate: threading.Event) -> None:
        with suppress(OSError), near:
            gate.wait()
            with socket.create_connection(("127.0.0.1", self._to_port)) as far:
                back = threading.Thread(target=self._pump, args=(near, far, gate), daemon=True)
                back.start()
                self._pump_media(far, near, gate)
                near.shutdown(socket.SHUT_RDWR)

    def _pump(self, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                gate.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _pump_media(
        self, source: socket.socket, target: socket.socket, gate: threading.Event
    ) -> None:
        buffer = bytearray()
        while data := source.recv(65536):
            gate.wait()
            buffer += data
            while (size := _unit(buffer)) <= len(buffer):
                unit = buffer[:size]
                del buffer[:size]
                target.sendall(self._shifted(unit))

    def _shifted(self, unit: bytearray) -> bytes:
        if unit[:2] == b"$\0":
            (self.last_timestamp,) = struct.unpack_from(">I", unit, 8)
            struct.pack_into(">I", unit, 8, (self.last_timestamp + self.shift) % 2**32)
            if self._chance.random() < self.noise:
                for _ in range(4):
                    unit[self._chance.randrange(16, len(unit))] ^= 1 << self._chance.randrange(8)
        return bytes(unit)


def _unit(buffer: bytearray) -> int:
    """Return the length of the first message; more than there is where it is not whole."""
    unknown = len(buffer) + 1
    if not buffer:
        return unknown
    if buffer[0] == ord("$"):
        return 4 + struct.unpack_from(">H", buffer, 2)[0] if len(buffer) >= 4 else unknown
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return unknown
    for line in bytes(buffer[:end]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return end + 4 + int(line.split(b":")[1])
    return end + 4


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Run a line to a port of this machine."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()
