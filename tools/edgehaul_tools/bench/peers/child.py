"""Runs one peer in its environment: ``python -I child.py SCRIPT FOLDER [measure]``.

Nothing of EdgeHaul is there, only what the peer needs: this file and the scripts beside it
import each other by their paths alone.

The folder holds ``fp32.onnx``, ``calibration.npy`` (N, ...) and ``judge.npy`` (M, ...). A script
has ``FORMS``, from a form's name to a function ``make(fp32, calibration, out)`` that writes an
int8 model, and may have ``measure(folder, rounds)`` for models that its own engine runs. What
came of it is written to ``made.json`` or ``measured.json``.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

_LONGEST = 160


def main(arguments: list[str]) -> int:
    """Make or measure; what fails is written down, too."""
    script, folder = Path(arguments[0]), Path(arguments[1])
    peer = _loaded(script)
    if arguments[2:]:
        _write(folder / "measured.json", peer.measure(folder, int(arguments[2])))
        return 0
    calibration = np.load(folder / "calibration.npy")
    made = {}
    for number, (name, make) in enumerate(peer.FORMS.items()):
        out = folder / f"{script.stem}-{number}.onnx"
        made[name] = _made(make, folder / "fp32.onnx", calibration, out)
    versions = {name: metadata.version(name) for name in peer.PACKAGES}
    _write(folder / "made.json", {"versions": versions, "forms": made})
    return 0


def _made(make: Any, fp32: Path, calibration: Any, out: Path) -> dict[str, Any]:  # noqa: ANN401 - any script's
    started_s = time.perf_counter()
    try:
        make(fp32, calibration, out)
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
        traceback.print_exc()
        return {"fault": _in_short(error)}
    seconds = time.perf_counter() - started_s
    return {"file": out.name if out.exists() else "", "seconds": seconds}


def _in_short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0] if lines else ''}"
    return re.sub(r"\s+", " ", text)[:_LONGEST]


def _loaded(script: Path) -> Any:  # noqa: ANN401 - any script
    """Import a script under a name that hides no package of the same name."""
    spec = importlib.util.spec_from_file_location(f"peer_{script.stem}", script)
    assert spec is not None  # noqa: S101 - a Python file
    assert spec.loader is not None  # noqa: S101 - as above
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
