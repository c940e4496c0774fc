"""A camera that sends JPEG pictures over HTTP, and can do so badly."""

import base64
import hashlib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

BOUNDARY = "frame"
NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
Part = Callable[[bytes], bytes]


def jpeg(level: int) -> bytes:
    """Return a picture of 64 x 48 pixels, of one colour with a little noise."""
    noise = np.random.default_rng(level).integers(0, 8, (48, 64, 3))
    return bytes(cv2.imencode(".jpg", (level + noise).astype(np.uint8))[1])


def sized(content: bytes) -> bytes:
    """Return a part that names its length, as most cameras send it."""
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def unsized(content: bytes) -> bytes:
    """Return a part that ends at the next boundary."""
    return f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + content + b"\r\n"


class HttpCamera:
    """What the camera does; change it while it runs.

    Attributes:
        part: Wraps a picture.
        user: Who may look, with a password; empty for everybody.
        scheme: ``Basic`` or ``Digest``.
        redirect: Where it sends everybody.
        content_type: What it says it sends.
        frames: How many pictures it sends on a connection before it closes it.
        is_silent: Whether it sends nothing more, and keeps the connection.
        interval_s: Time between two pictures.
        trickle_s: Time between two bytes of a picture; 0 sends it whole.
        authorizations: What viewers have sent to be let in.
    """

    def __init__(self) -> None:
        self.part: Part = sized
        self.user = self.password = self.redirect = ""
        self.scheme = "Basic"
        self.content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        self.frames = 10**9
        self.is_silent = False
        self.interval_s = 0.02
        self.trickle_s = 0.0
        self.authorizations: list[str] = []
        self.port = 0
        self.protocol = "http"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.protocol}://127.0.0.1:{self.port}/video?size=1"

    def lets_in(self, authorization: str, target: str) -> bool:
        """Return whether this answer is right."""
        if self.scheme == "Basic":
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return authorization == f"Basic {pair}"
        fields = dict(
            pair.strip().replace('"', "").split("=", 1)
            for pair in authorization.removeprefix("Digest ").split(",")
            if "=" in pair
        )

        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - the scheme's

        secret = md5(f"{self.user}:camera:{self.password}")
        middle = f"{NONCE}:{fields.get('nc')}:{fields.get('cnonce')}:auth"
        return fields.get("response") == md5(f"{secret}:{middle}:{md5('GET:' + target)}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, camera: HttpCamera) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.camera = camera
        self.is_over = threading.Event()
        camera.port = self.server_address[1]

    def handle_error(self, *arguments: object) -> None:
        pass  # viewers leave in the middle


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        camera = self.server.camera
        authorization = self.headers.get("Authorization", "")
        camera.authorizations.append(authorization)
        if camera.redirect:
            self.send_response(302)
            self.send_header("Location", camera.redirect)
            self.end_headers()
        elif camera.user and not camera.lets_in(authorization, self.path):
            self.send_response(401)
            extra = f', qop="auth", nonce="{NONCE}"' if camera.scheme == "Digest" else ""
            self.send_header("WWW-Authenticate", f'{camera.scheme} realm="camera"{extra}')
            self.end_headers()
            self.wfile.write(b"who are you?" * 100)
        else:
            self._send_pictures()

    def _send_pictures(self) -> None:
        camera, is_over = self.server.camera, self.server.is_over
        self.send_response(200)
        self.send_header("Content-Type", camera.content_type)
        self.end_headers()
        for index in range(camera.frames):
            self._send(camera.part(jpeg(index % 200)))
            while camera.is_silent and not is_over.wait(0.02):
                pass
            if is_over.wait(camera.interval_s):
                return

    def _send(self, content: bytes) -> None:
        trickle_s = self.server.camera.trickle_s
        if not trickle_s:
            self.wfile.write(content)
            return
        for byte in content:
            self.wfile.write(bytes([byte]))
            if self.server.is_over.wait(trickle_s):
                return

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def http_camera(certificate: Path | None = None) -> Iterator[HttpCamera]:
    """Run a camera on a port of this machine, with TLS where its key and certificate are given."""
    camera = HttpCamera()
    with _Server(camera) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            camera.protocol = "https"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield camera
        finally:
            server.is_over.set()
            server.shutdown()
