"""A datagram socket as systemd gives one to its services."""

from __future__ import annotations

import socket
from typing import Self


class NotifySocket:
    """Takes what a service tells; use it in ``with``.

    Args:
        address: A path, or ``@name`` for one that lies in no file system.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.told: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._socket.close()

    def read(self) -> list[str]:
        """Return all that has been told so far."""
        while True:
            try:
                self.told.append(self._socket.recv(65_536, socket.MSG_DONTWAIT).decode())
            except BlockingIOError:
                return self.told

    def has(self, beginning: str) -> bool:
        """Return whether something that begins like this has been told."""
        return any(text.startswith(beginning) for text in self.read())
