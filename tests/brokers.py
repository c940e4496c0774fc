"""A real mosquitto on a free port of this machine, for one test at a time."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")

_CONFIG = """listener {port} 127.0.0.1
allow_anonymous {anonymous}
{passwords}persistence true
persistence_location {folder}/
max_queued_messages 0
log_dest none
"""


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, *, timeout_s: float = 10.0) -> None:
    """Wait until something listens on ``port``."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            return


class Mosquitto:
    """A broker process that can be killed and started again; use it in ``with``.

    Args:
        folder: An empty folder for its configuration and database.
        passwords: A file made by ``mosquitto_passwd``; without it everyone may connect.
    """

    def __init__(self, folder: Path, *, passwords: Path | None = None) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        # Started by root, mosquitto changes to a user of its own.
        folder.chmod(0o777)
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            _CONFIG.format(
                port=self.port,
                folder=folder,
                anonymous="false" if passwords else "true",
                passwords=f"password_file {passwords}\n" if passwords else "",
            )
            + "user root\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self.kill()
