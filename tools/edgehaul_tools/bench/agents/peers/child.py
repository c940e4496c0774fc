"""Runs one contender in its environment: ``python -I child.py SCRIPT JOB RESULT``.

Nothing of EdgeHaul is there. A script has ``opened(job)``, which returns a function from a tensor
(1, 3, side, side) to the detector's answer, and may have ``whole(job, seen)``, its own way from a
clip to counts; by default that of ``plain_loop``. The job is JSON: ``clip``, ``model``, ``side``,
``line``, ``score``, ``iou``, ``threads`` (0: as shipped), ``port`` of the broker, and ``part``:
``whole``, or ``bare`` for decoding and the model alone.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Run and write what was counted."""
    job: dict[str, Any] = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
    if job["threads"]:
        os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    # At the end: a script beside this one hides no package.
    sys.path.append(str(_FOLDER))
    script = importlib.import_module(arguments[0])
    loop = importlib.import_module("plain_loop")
    first_s: list[float] = []

    def seen() -> None:
        if not first_s:
            first_s.append(time.time())

    if job["part"] == "bare":
        counts = loop.bare(job, script.opened(job))
    elif script is not loop and hasattr(script, "whole"):
        counts = script.whole(job, seen)
    else:
        counts = loop.whole(job, seen, script.opened(job))
    # The bare part may run where there is less.
    named = script.PACKAGES if job["part"] == "whole" else ()
    result = {
        **counts,
        "first_result_s": first_s[0] if first_s else 0.0,
        "versions": {name: metadata.version(name) for name in named},
    }
    Path(arguments[2]).write_text(json.dumps(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
