"""What the kernel tells of a process: memory, open files, threads."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Vitals:
    """One look at a process.

    Attributes:
        rss_mib: Resident memory in MiB.
        files: Open file descriptors.
        threads: Threads.
    """

    rss_mib: float
    files: int
    threads: int


def vitals_of(pid: int) -> Vitals:
    """Return how a process of this user is."""
    folder = Path(f"/proc/{pid}")
    found = re.search(r"VmRSS:\s+(\d+) kB", (folder / "status").read_text(encoding="utf-8"))
    files, threads = (len(list((folder / name).iterdir())) for name in ("fd", "task"))
    return Vitals(int(found[1]) / 1024 if found else 0.0, files, threads)
