"""Annotated pictures of the camera streams for people, over HTTP as MJPEG."""

from __future__ import annotations

import html
import io
import logging
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn
from typing import ClassVar

import cv2
import msgspec
import numpy as np

from edgehaul.clock import Clock
from edgehaul.config.device import StreamConfig
from edgehaul.config.service import PreviewSection
from edgehaul.geometry import Box, Line, Point, Polygon
from edgehaul.values import Image
from edgehaul.vision.draw import draw_detections, draw_lines, draw_polygons
from edgehaul_agent.health.server import (
    AddressServer,
    DeadlineReader,
    ServerThread,
    is_foreign,
    is_loopback,
)
from edgehaul_agent.pipeline.viewfinder import Sight, Viewfinder

_log = logging.getLogger(__name__)

_MOST_WATCHERS = 8
_QUALITY = 80
_REQUEST_S = 5.0
_PATIENCE_S = 1.0
"""How often it is looked whether a watcher is still there while no picture comes."""
_FIRST_PICTURE_TRIES = 10
_BOUNDARY = "frame"
_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"

Streams = Callable[[], Sequence[StreamConfig]]


class Preview(ServerThread):
    """Serves a page with all streams at ``/``, and each at ``/NAME.mjpeg`` and ``/NAME.jpg``.

    Everything that a picture costs beyond a copy is done on the watcher's thread. Use it in
    ``with``; watchers lose their connection with the process.

    Args:
        section: Where, how many and how large.
        streams: Gives the present camera streams.
        clock: Measures.

    Raises:
        DeviceError: It cannot listen there.
    """

    def __init__(self, section: PreviewSection, streams: Streams, clock: Clock) -> None:
        self._section = section
        self._streams = streams
        self._clock = clock
        self._viewfinders: dict[str, Viewfinder] = {}
        self._places = threading.BoundedSemaphore(_MOST_WATCHERS)
        fields = {"preview": self, "is_local": is_loopback(section.host)}
        super().__init__(
            _Server,
            section.host,
            section.port,
            type("_Pictures", (_Handler,), fields),
            name="preview",
            remedy="choose another port for the preview",
        )

    def viewfinder(self, name: str) -> Viewfinder:
        """Return the viewfinder of a stream, the same over all its runs."""
        return self._viewfinders.setdefault(name, Viewfinder(self._clock, self._section.fps))

    def stream(self, name: str) -> StreamConfig | None:
        """Return the stream of this name, where it is there."""
        return next((stream for stream in self._streams() if stream.name == name), None)

    def index(self) -> bytes:
        """Return the page with all streams."""
        names = [html.escape(stream.name) for stream in self._streams()]
        figures = "".join(
            f'<figure><img src="{name}.mjpeg" alt="{name}"><figcaption>{name}</figcaption></figure>'
            for name in names
        )
        style = "body{font-family:sans-serif;background:#222;color:#eee}img{max-width:100%}"
        return (
            '<!doctype html><meta charset="utf-8"><title>EdgeHaul preview</title>'
            f"<style>{style}</style>{figures or 'no camera stream'}"
        ).encode()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Take the place of a watcher; yield whether there was one."""
        has_place = self._places.acquire(blocking=False)
        try:
            yield has_place
        finally:
            if has_place:
                self._places.release()

    def pictures(self, name: str, is_there: Callable[[], bool]) -> Iterator[bytes]:
        """Yield JPEG pictures of a stream while it and its watcher are there."""
        viewfinder, number = self.viewfinder(name), 0
        with viewfinder.watching():
            while is_there() and (stream := self.stream(name)) is not None:
                number, sight = viewfinder.newer(number, _PATIENCE_S)
                if sight is not None:
                    yield annotated(sight, stream, self._section.width)


def annotated(sight: Sight, stream: StreamConfig, longest_px: int) -> bytes:
    """Return a frame as JPEG, with boxes, tracks, lines and zones.

    Args:
        sight: The frame and what was found.
        stream: Names the lines and zones.
        longest_px: Longest side of the picture; a larger frame is made smaller first.
    """
    height, width = sight.image.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    picture: Image = sight.image
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    zones = [Polygon(tuple(_scaled(p, scale) for p in zone.points)) for zone in stream.zones]
    lines = [
        Line(_scaled(line.points.start, scale), _scaled(line.points.end, scale))
        for line in stream.lines
    ]
    found = [
        msgspec.structs.replace(one, box=Box(*(side * scale for side in _sides(one.box))))
        for one, _ in sight.found
    ]
    picture = draw_polygons(picture, zones, names=[zone.name for zone in stream.zones])
    picture = draw_lines(picture, lines)
    picture = draw_detections(picture, found, track_ids=[track_id for _, track_id in sight.found])
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _scaled(point: Point, scale: float) -> Point:
    return Point(point.x * scale, point.y * scale)


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2


class _Server(ThreadingMixIn, AddressServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    preview: ClassVar[Preview]
    is_local: ClassVar[bool]
    server_version = "edgehaul-agent"
    sys_version = ""

    def setup(self) -> None:
        """Let a request take its time, and no more."""
        super().setup()
        self.rfile = io.BufferedReader(DeadlineReader(self.connection, _REQUEST_S))

    def do_GET(self) -> None:
        """Answer with the page, a picture or pictures."""
        self.connection.settimeout(_REQUEST_S)
        path = self.path.partition("?")[0]
        name, _, kind = path.removeprefix("/").rpartition(".")
        if self.is_local and is_foreign(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif path == "/":
            self._send(self.preview.index(), "text/html; charset=utf-8")
        elif kind not in {"mjpeg", "jpg"} or self.preview.stream(name) is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            with self.preview.place() as has_place:
                if not has_place:
                    self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "too many watchers")
                elif kind == "jpg":
                    self._send_one(name)
                else:
                    self._send_all(name)

    def _send_one(self, name: str) -> None:
        tries = iter(range(_FIRST_PICTURE_TRIES))
        for picture in self.preview.pictures(name, lambda: next(tries, None) is not None):
            self._send(picture, "image/jpeg")
            return
        self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the stream gives no picture")

    def _send_all(self, name: str) -> None:
        self._head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        try:
            for picture in self.preview.pictures(name, self._is_there):
                head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                head += f"Content-Length: {len(picture)}\r\n\r\n"
                self.wfile.write(head.encode() + picture + b"\r\n")
        except OSError as error:
            _log.debug("%s: has gone: %s", self.address_string(), error)

    def _is_there(self) -> bool:
        """Return whether the watcher has not hung up; it has nothing more to say."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        return not readable

    def _send(self, content: bytes, content_type: str) -> None:
        self._head(content_type, length=len(content))
        self.wfile.write(content)

    def _head(self, content_type: str, *, length: int | None = None) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Log requests only where details are asked for."""
        _log.debug("%s: " + format, self.address_string(), *args)
