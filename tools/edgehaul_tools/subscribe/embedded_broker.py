"""A small MQTT broker for trials, demonstrations and tests; run mosquitto for real work.

It is amqtt, in a process of its own so that it shares no interpreter lock with what it
serves. It speaks MQTT 3.1.1 only, and it has been seen to lose the queue of a client that was
away, so nothing may rely on it but what is acknowledged end to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket
import subprocess
import sys
import time
from typing import Self

from edgehaul.errors import BrokerError, UsageError

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 20.0


class EmbeddedBroker:
    """A broker on this machine only, without passwords; use it in ``with``.

    Args:
        port: Where to listen; 0 takes a free port.

    Raises:
        UsageError: The package amqtt is not installed.
        BrokerError: On entry, when it does not start.
    """

    def __init__(self, port: int = 0) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise UsageError(
                "the embedded broker needs the package amqtt",
                remedy="pip install 'edgehaul[demo]', or name a broker of your own",
            )
        self.host = _HOST
        self.port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it listens."""
        # It ends by itself when this process does, however: its standard input closes.
        self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-m", __name__, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                report = process.communicate()[1].decode(errors="replace").strip()
                raise BrokerError(
                    f"the embedded broker ended: {report.splitlines()[-1] if report else '?'}",
                    where=f"{self.host}:{self.port}",
                    remedy="choose another port",
                )
            with contextlib.suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=0.2).close()
                return
            time.sleep(0.05)
        raise BrokerError(
            f"the embedded broker did not start within {_START_TIMEOUT_S:g} s",
            where=f"{self.host}:{self.port}",
            remedy="try again on a machine that is less busy",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


async def _serve(port: int) -> None:
    # An optional extra, heavy to import, without types.
    from amqtt.broker import Broker  # type: ignore[import-untyped]  # noqa: PLC0415

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"{_HOST}:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    await broker.start()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
