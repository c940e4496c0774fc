"""Runs a command and writes what it took: ``python -I launch.py RESULT COMMAND...``.

A process of its own, and a small one: a child begins with the peak of memory of whoever starts it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run, write seconds and MiB, and return the command's exit code."""
    started_s = time.time()
    process = subprocess.Popen(arguments[1:])  # noqa: S603 - what the benchmark asks for
    _, status, usage = os.wait4(process.pid, 0)
    took = {
        "started_s": started_s,
        "wall_s": time.time() - started_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "rss_peak_mib": usage.ru_maxrss / 1024,
    }
    Path(arguments[0]).write_text(json.dumps(took), encoding="utf-8")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
