"""A fresh process that runs a model as the box does, and says how much memory that took.

Run by its path, so that it holds ONNX Runtime and numpy alone:
``python -P memory_child.py TENSOR.npy RUNS [MODEL.onnx]``. Prints the largest resident set in
bytes; nothing where the system does not tell.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs

_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"
_ERRORS_ONLY = 3


def run_model(model: str, tensor_file: str, runs: int) -> None:
    """Open a model on one thread, as the agent does, and run it some times."""
    tensor = np.load(tensor_file, allow_pickle=False)
    if not model:
        return
    session = onnxruntime.InferenceSession(
        model, options_as_on_the_box(), providers=["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: tensor}
    for _ in range(runs):
        session.run(None, feed)


def options_as_on_the_box() -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Return the options that :mod:`edgehaul_tools.export.runtime` sets, too.

    That module holds onnx, whose memory would count here.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def peak_bytes() -> int | None:
    """Return the largest resident set of this process so far.

    Not of ``getrusage``: Linux hands that down to a process from the one that started it.
    """
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith(_PEAK):
            return int(line.split()[1]) * 1024
    return None


def main(arguments: list[str]) -> None:
    """Run what the arguments say and print the peak."""
    tensor_file, runs, *model = arguments
    run_model("".join(model), tensor_file, int(runs))
    peak = peak_bytes()
    if peak is not None:
        sys.stdout.write(f"{peak}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
