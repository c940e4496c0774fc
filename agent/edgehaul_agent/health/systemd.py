"""What systemd is told of the service (``sd_notify(3)``); without systemd nothing happens."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 1.0
_MICROSECONDS = 1_000_000


class Systemd:
    """Sends states to the socket that systemd has named.

    Args:
        environment: The process's environment: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and
            ``WATCHDOG_PID`` are looked at.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte of an address that lies in no file system.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._environment = environment
        self._is_refused = False

    @property
    def watchdog_s(self) -> float:
        """Within how many seconds systemd wants to hear from this process; 0 for never."""
        microseconds = self._environment.get("WATCHDOG_USEC", "")
        watched = self._environment.get("WATCHDOG_PID", "") or str(os.getpid())
        if not self._address or not microseconds.isdecimal() or watched != str(os.getpid()):
            return 0.0
        return int(microseconds) / _MICROSECONDS

    def ready(self) -> None:
        """Say that the start, or a reload, is done."""
        self._notify("READY=1")

    def reloading(self) -> None:
        """Say that the configuration is read again; :meth:`ready` ends that."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._notify("STOPPING=1")

    def status(self, text: str) -> None:
        """Say in one line what the service is doing."""
        self._notify(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._notify("WATCHDOG=1")

    def _notify(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_TIMEOUT_S)
                sender.sendto(state.encode(), self._address)
        except OSError as error:
            if not self._is_refused:
                self._is_refused = True
                _log.warning("systemd cannot be told anything: %s", error)
