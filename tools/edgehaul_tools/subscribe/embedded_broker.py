"""A small MQTT broker for trials, demonstrations and tests; run mosquitto for real work.

It is amqtt, in a process of its own so that it shares no interpreter lock with what it
serves. It speaks MQTT 3.1.1 only, and it has been seen to lose the queue of a client that was
away, so nothing may rely on it but what is acknowledged end to end.
"""

from __future__ import annotations

import asyncio
import importlib.util
import selectors
import socket
import subprocess
import sys
from typing import IO, Self

from edgehaul.errors import BrokerError, UsageError

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 20.0
_READY = b"ready\n"


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
            stdout=subprocess.PIPE,
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
        # It says so itself: another process may listen on that port already.
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(_pipe(process.stdout), selectors.EVENT_READ)
            if selector.select(_START_TIMEOUT_S):
                said = _pipe(process.stdout).readline()
        if said == _READY:
            return
        process.kill()
        report = process.communicate()[1].decode(errors="replace").splitlines()
        raise BrokerError(
            f"the embedded broker did not start: {report[-1] if report else 'no answer'}",
            where=f"{self.host}:{self.port}",
            remedy="choose another port, or run mosquitto",
        )


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - asked for in Popen
    return pipe


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
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.buffer.read)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
