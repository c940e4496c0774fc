"""Connections over the network that a link can use."""

from __future__ import annotations

import logging
import select
import socket
import time

_LOGGER = logging.getLogger(__name__)

_CONNECT_S = 5.0
_WRITE_S = 1.0
_MOST_BYTES = 65_536
_AT_ONCE = 100
"""Datagrams that are looked at before the caller has a turn, be they all of a stranger."""


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    """Return whether something can be read, be it only that the other end has gone."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


class TcpWire:
    """A TCP connection.

    Args:
        connection: It.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(_WRITE_S)

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, or nothing after ``timeout_s``."""
        if not wait_readable(self._connection.fileno(), timeout_s):
            return b""
        data = self._connection.recv(_MOST_BYTES)
        if not data:
            raise ConnectionAbortedError("the other end has closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._connection.sendall(data)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def dial_tcp(host: str, port: int) -> TcpWire:
    """Return a connection to a server.

    Raises:
        OSError: There is none.
    """
    try:
        return TcpWire(socket.create_connection((host, port), timeout=_CONNECT_S))
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host") from error


class UdpWire:
    """A port at which datagrams come; who is heard first is listened to alone.

    Positions of two receivers in turn would be a vehicle that jumps. Senders are told apart by
    their address without the port, which many change with each datagram.

    Args:
        listener: A socket that is bound to the port.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._sender: str | None = None
        self._warned = False
        listener.settimeout(0)

    def read(self, timeout_s: float) -> bytes:
        """Return the next datagram, or nothing after ``timeout_s``."""
        until_s = time.monotonic() + timeout_s
        for _ in range(_AT_ONCE):
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not wait_readable(self._listener.fileno(), left_s):
                return b""
            try:
                data, (sender, *_) = self._listener.recvfrom(_MOST_BYTES)
            except BlockingIOError:  # the kernel had one with a wrong checksum
                continue
            if self._is_heard(sender) and data:
                return data
        return b""

    def write(self, data: bytes) -> None:
        """Do nothing: nobody is there to be answered."""

    def close(self) -> None:
        """Close it."""
        self._listener.close()

    def _is_heard(self, sender: str) -> bool:
        self._sender = self._sender or sender
        if sender != self._sender and not self._warned:
            self._warned = True
            _LOGGER.warning("datagrams of %s are passed over while %s sends", sender, self._sender)
        return sender == self._sender


def dial_udp(bind: str, port: int) -> UdpWire:
    """Return a port that is listened at.

    Raises:
        OSError: It is taken, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            bind, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
    except UnicodeError as error:
        raise OSError(f"{bind!r} is no address") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return UdpWire(listener)
