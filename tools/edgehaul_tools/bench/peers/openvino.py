"""OpenVINO: its own int8 (by NNCF) and ours, run by its engine in float32 and int8 alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nncf  # type: ignore[import-not-found]  # only in its environment
import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import openvino  # type: ignore[import-not-found]  # only in its environment
from numpy.typing import NDArray

PACKAGES = ("openvino", "nncf", "onnxruntime")
_IR, _FP32, _OURS = "openvino.xml", "fp32.onnx", "ours-qdq.onnx"
_OPTIONS = {
    # Its default precision is bf16 where the processor has it: then "fp32" would not be fp32.
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
}
_NAMES = {
    _FP32: "OpenVINO fp32",
    _IR: "OpenVINO int8 (NNCF)",
    _OURS: "EdgeHaul, run by OpenVINO",
}
_Run = Callable[[NDArray[np.float32]], Any]


def _quantized(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    model = openvino.Core().read_model(str(fp32))
    model.reshape([1, *calibration.shape[1:]])
    dataset = nncf.Dataset(list(calibration), lambda one: one[None])
    quantized = nncf.quantize(model, dataset, subset_size=len(calibration))
    openvino.save_model(quantized, str(out.with_name(_IR)), compress_to_fp16=False)


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {_NAMES[_IR]: _quantized}


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Time the models in turns with ONNX Runtime's fp32, and write what they answer.

    The processor time of the whole process counts, as the engine works on a thread of its own.
    """
    judge = np.load(folder / "judge.npy")
    runs, faults = _opened(folder, judge)
    medians = _medians_s([_onnx_runtime(folder / _FP32), *runs.values()], judge[:1], rounds)
    found: dict[str, Any] = {_NAMES[file]: {"fault": fault} for file, fault in faults.items()}
    for (file, run), own_s in zip(runs.items(), medians[1:], strict=True):
        answers = f"answers-{file}.npy"
        np.save(folder / answers, np.stack([run(one[None]) for one in judge]))
        found[_NAMES[file]] = {
            "ratio": own_s / medians[0],
            "answers": answers,
            "bytes": _bytes_of(folder / file),
        }
    return found


def _opened(folder: Path, judge: NDArray[np.float32]) -> tuple[dict[str, _Run], dict[str, str]]:
    """Return how to run each model that is there, and why others cannot be run."""
    runs: dict[str, _Run] = {}
    faults: dict[str, str] = {}
    for file in _NAMES:
        if not (folder / file).exists():
            continue
        try:
            run = _compiled(folder / file, judge.shape[1:])
            run(judge[:1])
            runs[file] = run
        except RuntimeError as error:
            faults[file] = str(error).strip().splitlines()[-1][:160]
    return runs, faults


def _medians_s(runs: list[_Run], tensor: NDArray[np.float32], rounds: int) -> list[float]:
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(rounds + 2):
        for run, taken in zip(runs, times, strict=True):
            started_s = time.process_time()
            run(tensor)
            if turn > 1:
                taken.append(time.process_time() - started_s)
    return [float(np.median(taken)) for taken in times]


def _compiled(file: Path, shape: tuple[int, ...]) -> _Run:
    core = openvino.Core()
    model = core.read_model(str(file))
    model.reshape([1, *shape])
    request = core.compile_model(model, "CPU", _OPTIONS).create_infer_request()

    def run(tensor: NDArray[np.float32]) -> Any:  # noqa: ANN401 - an array of openvino's making
        request.infer([tensor], share_inputs=True)
        return request.get_output_tensor(0).data.copy()

    return run


def _onnx_runtime(file: Path) -> _Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tensor: session.run(None, {name: tensor})


def _bytes_of(file: Path) -> int:
    weights = file.with_suffix(".bin")
    return file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
