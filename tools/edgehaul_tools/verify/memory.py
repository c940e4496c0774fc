"""How much memory each model takes, in fresh processes that take turns."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import ModelError

ROUNDS = 3
RUNS = 5
_CHILD = Path(__file__).with_name("memory_child.py")
_LIMIT_S = 300


def peak_increases(
    models: Sequence[Path], tensor: NDArray[Any], *, rounds: int = ROUNDS, runs: int = RUNS
) -> list[int] | None:
    """Return by how many bytes each model raises the peak of a process, the median of rounds.

    In each round a process without a model is followed by one with each model; what counts is
    the difference within the round. So neither this process nor what the libraries take is in
    the figure. Linux alone tells such peaks; elsewhere there are none.

    Args:
        models: ONNX files.
        tensor: Their input.
        rounds: Processes with each model.
        runs: How often each process runs its model.

    Raises:
        ModelError: A process with a model ends badly, or takes longer than five minutes.
    """
    with tempfile.TemporaryDirectory(prefix="edgehaul-memory-") as folder:
        file = Path(folder) / "tensor.npy"
        np.save(file, tensor, allow_pickle=False)
        increases: list[list[int]] = []
        for _ in range(rounds):
            without = _peak(file, runs, None)
            peaks = [_peak(file, runs, model) for model in models]
            if without is None:
                return None
            increases.append([(peak or without) - without for peak in peaks])
    return [int(v) for v in np.median(np.array(increases), axis=0)]


def _peak(tensor: Path, runs: int, model: Path | None) -> int | None:
    # -P: the modules beside the child must not be taken for libraries of the same name.
    words = [sys.executable, "-P", str(_CHILD), str(tensor), str(runs)]
    if model is not None:
        words.append(str(model.resolve()))
    try:
        done = subprocess.run(  # noqa: S603 - our own program, arguments as a list
            words, capture_output=True, timeout=_LIMIT_S, check=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{runs} runs of the model took longer than {_LIMIT_S} s",
            where=model or "memory",
            remedy="leave the memory out with --no-memory",
        ) from error
    except subprocess.CalledProcessError as error:
        last = next(reversed(error.stderr.strip().splitlines()), f"status {error.returncode}")
        raise ModelError(
            f"a fresh process cannot run the model: {last[:200]}",
            where=model or "memory",
            remedy="export the model again, or leave the memory out with --no-memory",
        ) from error
    printed = done.stdout.strip()
    return int(printed) if printed else None
