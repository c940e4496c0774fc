"""A few pages over HTTP, for whoever watches this box: one thread, small requests, no files."""

from __future__ import annotations

import io
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import TCPServer
from typing import ClassVar, NamedTuple, Self

from edgehaul.errors import DeviceError

_log = logging.getLogger(__name__)

_REQUEST_S = 5.0
"""A request must be there after this time, and its answer be taken after as long again."""
_QUEUE = 8


class Page(NamedTuple):
    """An answer.

    Attributes:
        content: What it says.
        content_type: As HTTP names it.
        status: 200 where all is well.
    """

    content: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: HTTPStatus = HTTPStatus.OK


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def is_foreign(host_header: str) -> bool:
    """Return whether a request that came over loopback was meant for a name of somebody else.

    A web page may let its own name lead to 127.0.0.1, and have a browser on this machine ask.
    """
    host = host_header.strip()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not name or name == "localhost":
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


class AddressServer(HTTPServer):
    """Listens at an address of either kind, and asks no resolver for its own name.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        handler: Answers.

    Raises:
        OSError: It cannot listen there.
    """

    request_queue_size = _QUEUE
    allow_reuse_address = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), handler)

    def server_bind(self) -> None:
        """Bind."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what goes wrong with one request, whose end it is."""
        del request
        _log.debug("%s: request failed", client_address, exc_info=True)


class ServerThread:
    """Answers requests on a thread of its own; use it in ``with``.

    It listens from the beginning and answers within; connections that are still open then end
    with the process.

    Args:
        make: Makes the server, of an address, a port (0 takes a free one) and a handler.
        host: Address to listen at.
        port: Port to listen at.
        handler: Answers.
        name: Of the thread.
        remedy: What to do where it cannot listen.

    Attributes:
        port: Where it listens.

    Raises:
        DeviceError: It cannot listen there.
    """

    def __init__(
        self,
        make: type[AddressServer],
        host: str,
        port: int,
        handler: type[BaseHTTPRequestHandler],
        *,
        name: str,
        remedy: str,
    ) -> None:
        try:
            self._server = make(host, port, handler)
        except OSError as error:
            raise DeviceError(
                f"cannot listen: {(error.strerror or str(error)).lower()}",
                where=f"{host}:{port}",
                remedy=remedy,
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name=name, daemon=True
        )

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class PageServer(ServerThread):
    """Serves pages; see :class:`ServerThread`.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        pages: What makes the page of each path. No other path is there.

    Raises:
        DeviceError: It cannot listen there.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]]) -> None:
        handler = type("_Pages", (_Handler,), {"pages": pages, "is_local": is_loopback(host)})
        remedy = "choose another port in the configuration"
        super().__init__(AddressServer, host, port, handler, name="pages", remedy=remedy)


class DeadlineReader(io.RawIOBase):
    """Reads from a connection until a moment, however slowly the other end sends.

    Args:
        connection: The connection.
        duration_s: How long from now.
    """

    def __init__(self, connection: socket.socket, duration_s: float) -> None:
        self._connection = connection
        self._until_s = time.monotonic() + duration_s

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: object) -> int:
        """Read what has come.

        Raises:
            TimeoutError: The time is over.
        """
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        return self._connection.recv_into(buffer)  # type: ignore[arg-type]  # typeshed's own name for it is private


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Mapping[str, Callable[[], Page]]] = {}
    is_local: ClassVar[bool] = True
    server_version = "edgehaul-agent"
    sys_version = ""

    def setup(self) -> None:
        """Let a request take its time, and no more."""
        super().setup()
        self.rfile = io.BufferedReader(DeadlineReader(self.connection, _REQUEST_S))

    def do_GET(self) -> None:
        """Answer with a page."""
        self.connection.settimeout(_REQUEST_S)
        make = self.pages.get(self.path.partition("?")[0])
        if self.is_local and is_foreign(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif make is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(make())

    def _send(self, page: Page) -> None:
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Log requests only where details are asked for."""
        _log.debug("%s: " + format, self.address_string(), *args)
