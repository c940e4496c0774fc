"""Serial ports, by what the system itself offers: no library is needed to read one."""

from __future__ import annotations

import fcntl
import os
import termios
from pathlib import Path

from edgehaul_agent.sources.wires import wait_readable

_MOST_BYTES = 4096


class SerialWire:
    """An open serial port.

    Args:
        descriptor: Of the port; it is closed with this object.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def read(self, timeout_s: float) -> bytes:
        """Return what has come, or nothing after ``timeout_s``."""
        if self._descriptor is None:
            raise ConnectionAbortedError("the port is closed")
        if not wait_readable(self._descriptor, timeout_s):
            return b""
        try:
            data = os.read(self._descriptor, _MOST_BYTES)
        except BlockingIOError:
            return b""
        if not data:  # readable, and nothing to read: it was unplugged
            raise ConnectionAbortedError("the device is gone")
        return data

    def write(self, data: bytes) -> None:
        """Do nothing: the receiver speaks by itself, and is left as it is set up."""

    def close(self) -> None:
        """Close it; once more does nothing, for the number may be another file's by then."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def dial_serial(path: Path, baud: int) -> SerialWire:
    """Return a port, open for this process alone, with what had come before thrown away.

    Raises:
        OSError: There is none, it is another's, or it is no serial port.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        _set_raw(descriptor, baud)
        termios.tcflush(descriptor, termios.TCIFLUSH)
    except OSError:
        os.close(descriptor)
        raise
    except termios.error as error:
        os.close(descriptor)
        raise OSError(error.args[0], f"cannot be set to {baud} baud: {error.args[1]}") from error
    return SerialWire(descriptor)


def _set_raw(descriptor: int, baud: int) -> None:
    """Set 8 bits, no parity, no flow control, and every byte as it comes."""
    speed = getattr(termios, f"B{baud}")
    *_, control = termios.tcgetattr(descriptor)
    control[termios.VMIN], control[termios.VTIME] = 1, 0
    of_input = termios.IGNPAR | termios.IGNBRK
    of_line = termios.CS8 | termios.CREAD | termios.CLOCAL
    termios.tcsetattr(descriptor, termios.TCSANOW, [of_input, 0, of_line, 0, speed, speed, control])
