"""ONNX Runtime on the host, set up as on the box: one thread, no spinning."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # type: ignore[import-untyped]  # no stubs

from edgehaul.errors import ModelError

ORT_ERRORS: tuple[type[Exception], ...] = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
_ERRORS_ONLY = 3

Run = Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
"""Runs a model on its input tensor and returns its outputs in the model's order."""


def open_model(
    model: onnx.ModelProto | Path, *, where: Path | None = None, threads: int = 1
) -> Any:  # noqa: ANN401 - onnxruntime has no types
    """Open a model on the processor, as an ``onnxruntime.InferenceSession``.

    Args:
        model: The model or its file.
        where: Its file, for errors.
        threads: More than one only where no time is measured.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    return _opened(model, _options(threads), where)


def open_optimized(model: onnx.ModelProto, out: Path) -> None:
    """Let ONNX Runtime optimize a model and write what it will run, apart from layouts.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    _opened(model, options, None)


def _options(threads: int = 1) -> Any:  # noqa: ANN401 - onnxruntime has no types
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _opened(model: onnx.ModelProto | Path, options: Any, where: Path | None) -> Any:  # noqa: ANN401 - onnxruntime has no types
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise ModelError(
            f"ONNX Runtime cannot open the model: {first_line(error)}",
            where=model if isinstance(model, Path) else (where or "model"),
            remedy="export the model again, or update onnxruntime",
        ) from error


def processors() -> int:
    """Return how many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def runner(model: onnx.ModelProto | Path, *, where: Path | None = None, threads: int = 1) -> Run:
    """Open a model and return how to run it; the arguments are those of :func:`open_model`.

    Raises:
        ModelError: ONNX Runtime refuses the model, or later the input.
    """
    session = open_model(model, where=where, threads=threads)
    feed = session.get_inputs()[0].name
    place = model if isinstance(model, Path) else (where or "model")

    def run(tensor: NDArray[Any]) -> Sequence[NDArray[Any]]:
        try:
            outputs: Sequence[NDArray[Any]] = session.run(None, {feed: tensor})
        except ORT_ERRORS as error:
            raise ModelError(
                f"the model refuses an input of {tensor.shape} {tensor.dtype}: {first_line(error)}",
                where=place,
                remedy="correct width, height, layout and dtype in the spec",
            ) from error
        return outputs

    return run


_TURN_MS, _SHORTEST_MS = 5.0, 0.05


def interleaved_medians_ms(runs: Sequence[Run], tensor: NDArray[Any], rounds: int) -> list[float]:
    """Return the median of each run's :func:`interleaved_times_ms`."""
    return [float(np.median(taken)) for taken in interleaved_times_ms(runs, tensor, rounds)]


def interleaved_times_ms(
    runs: Sequence[Run], tensor: NDArray[Any], rounds: int
) -> list[NDArray[np.float64]]:
    """Return the processor times (rounds,) of each run; they take turns.

    The models run on the calling thread alone, so that its processor time is what they take
    on an idle machine: other programs do not count. A turn of a small model is several runs of it,
    and its time their mean: as on the box, it then finds its weights in the cache.

    Args:
        runs: The models.
        tensor: Their input.
        rounds: Turns of each; two more warm up.
    """
    repeats = [1] * len(runs)
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 2):
        for number, run in enumerate(runs):
            started = time.thread_time()
            for _ in range(repeats[number]):
                run(tensor)
            taken_ms = (time.thread_time() - started) * 1000 / repeats[number]
            if turn > 1:
                times[number].append(taken_ms)
            elif turn == 1:
                repeats[number] = max(1, round(_TURN_MS / max(taken_ms, _SHORTEST_MS)))
    return [np.array(taken) for taken in times]


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, at most 200 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
