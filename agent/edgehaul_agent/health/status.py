"""``run/status.json`` below the device's root: how the agent was doing a moment ago."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import DeviceError
from edgehaul.messages.payloads import HealthData, ModelState

_MAX_BYTES = 1_000_000
_LATE = 3.0
_SLACK_S = 15.0
_START_FIELD = 19
"""Of ``/proc/PID/stat``, counted after the name in parentheses: when the process started."""

Life = Literal["running", "stopped", "stale", "dead"]


class BrokerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The connection to the broker.

    Attributes:
        address: ``host:port``.
        connected: Whether it is there.
        fault: Why it could not be reached the last time; empty for no reason.
    """

    address: str
    connected: bool
    fault: str = ""


class RunningStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a running agent is doing.

    Attributes:
        pid: Its process.
        process_started: When the kernel says that the process started, in its own ticks: a later
            process may have the same number.
        version: Version of the agent.
        started_at: When it started, RFC 3339 in UTC.
        written_at: When this was written, RFC 3339 in UTC.
        written_at_s: The same in seconds since 1970.
        interval_s: Seconds after which it is written anew at the latest.
        health: Streams, spool and machine.
        broker: The connection to the broker.
        models: The models that have been loaded, and what runs them.
        stopped: Whether the agent has ended in good order.
    """

    pid: int
    process_started: int
    version: str
    started_at: str
    written_at: str
    written_at_s: float
    interval_s: float
    health: HealthData
    broker: BrokerStatus
    models: tuple[ModelState, ...] = ()
    stopped: bool = False

    def life(self, now_s: float) -> Life:
        """Return whether the agent is running still.

        Args:
            now_s: Seconds since 1970.

        Returns:
            ``running``; ``stopped`` in good order; ``dead``, which is without; or ``stale`` where
            the process is there and has not written for too long.
        """
        if self.stopped:
            return "stopped"
        if process_start(self.pid) != self.process_started:
            return "dead"
        is_late = abs(now_s - self.written_at_s) > _LATE * self.interval_s + _SLACK_S
        return "stale" if is_late else "running"


def status_path(root: Path) -> Path:
    """Return where the status lies below a device's root."""
    return root / "run" / "status.json"


def write_status(root: Path, status: RunningStatus) -> None:
    """Replace the file in one step; it is not synced, since it tells nothing after a power cut.

    Raises:
        OSError: It cannot be written.
    """
    path = status_path(root)
    path.parent.mkdir(exist_ok=True)
    # Two agents cannot be there at a time: the spool's lock is taken by then.
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(status))
    fresh.replace(path)


def read_status(root: Path) -> RunningStatus | None:
    """Return what the agent has written last; none where it never has.

    Raises:
        DeviceError: The file cannot be read as a status.
    """
    path = status_path(root)
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=RunningStatus)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE_JSON) as error:
        raise DeviceError(
            f"this is no status of an agent: {error}",
            where=path,
            remedy="let it be read, or wait for the next one",
        ) from error


def process_start(pid: int) -> int:
    """Return when a process started, in clock ticks after the machine's start; 0 for no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return int(stat.rpartition(")")[2].split()[_START_FIELD])
    except (OSError, ValueError, IndexError):
        pass
    try:  # without /proc only whether it is there can be told
        os.kill(pid, 0)
    except PermissionError:
        return 1
    except (OSError, OverflowError):
        return 0
    return 1
