"""The broker that everybody publishes to: mosquitto where there is one, else the embedded one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgehaul.errors import BrokerError
from edgehaul_tools.subscribe.embedded_broker import EmbeddedBroker

_READY_S, _STEP_S = 10.0, 0.05
# Debian installs daemons into sbin, which is not on everybody's path.
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


@contextmanager
def any_broker() -> Iterator[tuple[int, str]]:
    """Run a broker on this machine; yield its port and what it is called.

    Raises:
        UsageError: There is neither mosquitto nor amqtt.
        BrokerError: It does not start.
    """
    program = shutil.which("mosquitto", path=_PATH)
    if program is None:
        with EmbeddedBroker() as broker:
            yield broker.port, "amqtt"
        return
    with mosquitto(program) as port:
        yield port, "mosquitto"


@contextmanager
def mosquitto(program: str = "mosquitto") -> Iterator[int]:
    """Run mosquitto on a free port of this machine; yield the port.

    Raises:
        BrokerError: It does not start.
    """
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        config = Path(name) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="utf-8")
        command = [program, "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603 - a broker
        try:
            _wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + _READY_S
    while time.monotonic() < deadline_s:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_STEP_S)
    raise BrokerError(f"mosquitto does not listen on port {port} after {_READY_S:g} s")
