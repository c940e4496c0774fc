"""What the machine says of itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Protocol

import msgspec

_MIB = 1024 * 1024
_THERMAL = Path("/sys/class/thermal")


class MachineReading(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the machine.

    Attributes:
        cpu_s: Processor time that the agent has used so far.
        rss_mb: Resident memory of the agent in MiB.
        disk_free_mb: Free space in MiB.
        temperature_c: The warmest sensor, where there is one.
    """

    cpu_s: float = 0.0
    rss_mb: float = 0.0
    disk_free_mb: float = 0.0
    temperature_c: float | None = None


class Probe(Protocol):
    """Looks at the machine."""

    def read(self) -> MachineReading:
        """Return how the machine is now."""
        ...


class LinuxProbe:
    """Reads ``/proc`` and ``/sys``; what is not there is left out.

    Args:
        folder: Whose disk to look at.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> MachineReading:
        """Return how the machine is now."""
        times = os.times()
        try:
            free_mb = shutil.disk_usage(self._folder).free / _MIB
        except OSError:
            free_mb = 0.0
        return MachineReading(
            cpu_s=times.user + times.system,
            rss_mb=round(_resident_mb(), 1),
            disk_free_mb=round(free_mb, 1),
            temperature_c=_temperature_c(),
        )


def _resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / _MIB


def _temperature_c() -> float | None:
    readings = []
    for file in _THERMAL.glob("thermal_zone*/temp"):
        try:
            readings.append(int(file.read_text(encoding="ascii")) / 1000)
        except (OSError, ValueError):  # sensors that are switched off answer with an error
            continue
    return max(readings, default=None)
