"""What the system tells of this process: its memory, and the processor time of its threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

_SELF = Path("/proc/self")
_MEMORY = {name: re.compile(rf"^{name}:\s+(\d+) kB", re.MULTILINE) for name in ("VmRSS", "VmHWM")}
_DECODERS = "av:"
"""So FFmpeg calls the threads of its decoders."""
_NS = 1e9


def resident_mib() -> float:
    """Return the resident memory; 0 where the system does not tell."""
    return _memory_mib("VmRSS")


def peak_resident_mib() -> float:
    """Return the most resident memory so far; 0 where the system does not tell."""
    return _memory_mib("VmHWM")


def _memory_mib(name: str) -> float:
    try:
        found = _MEMORY[name].search((_SELF / "status").read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


class ThreadTimes(msgspec.Struct, frozen=True):
    """Processor time in seconds of the threads that are alive.

    Attributes:
        named_s: That of Python's threads, by name.
        runtime_s: That of libraries' threads which decode no video: the model's runtime has them.
    """

    named_s: dict[str, float]
    runtime_s: float


def thread_times() -> ThreadTimes:
    """Read the processor time of all threads; nothing where the system does not tell."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    named_s: dict[str, float] = {}
    runtime_s = 0.0
    for native_id, cpu_s, comm in _tasks():
        if native_id in names:
            named_s[names[native_id]] = named_s.get(names[native_id], 0.0) + cpu_s
        elif not comm.startswith(_DECODERS):
            runtime_s += cpu_s
    return ThreadTimes(named_s, runtime_s)


def _tasks() -> Iterator[tuple[int, float, str]]:
    """Yield each thread's number, processor time and name."""
    for folder in (_SELF / "task").glob("*"):
        try:
            cpu_ns = int((folder / "schedstat").read_text(encoding="ascii").split()[0])
            comm = (folder / "comm").read_text(encoding="utf-8", errors="replace")
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
        yield int(folder.name), cpu_ns / _NS, comm
