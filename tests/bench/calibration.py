"""Time and memory of calibrating ResNet-18 at 224 x 224, beside ONNX Runtime's own calibrators.

Every calibrator runs in a child process of its own, on inputs made on the fly, with 100 and with
1,000 of them. ONNX Runtime's are used as ``quantize_static`` uses them by default. Its Percentile
and Entropy keep every activation of every input until the end: a child may take so much memory
and no more. Ours finds the ranges of all methods from its one pass. Run::

    python tests/bench/calibration.py [--quick]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator
from saying import say

from edgehaul_tools.export.onnx_model import TensorNames, export_module
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.graph import clean, load_model
from edgehaul_tools.quantize.ranging import Method
from edgehaul_tools.train.architectures.resnet import ResNet

SIDE_PX = 224
COUNTS, QUICK_COUNTS = (100, 1000), (10, 40)
METHODS: tuple[Method, ...] = ("minmax", "moving-average", "percentile", "entropy", "mse")
_KB_PER_MB = 1024


def inputs(count: int) -> Iterator[NDArray[np.float32]]:
    """Yield inputs that are the same in every process."""
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.standard_normal((1, 3, SIDE_PX, SIDE_PX), dtype=np.float32)


class Reader(CalibrationDataReader):
    """Hands the inputs to ONNX Runtime."""

    def __init__(self, count: int) -> None:
        self._inputs = inputs(count)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next input, or none at the end."""
        tensor = next(self._inputs, None)
        return None if tensor is None else {"input": tensor}


def ours(path: Path, count: int) -> None:
    """Calibrate with every method."""
    model = clean(load_model(path), where=path)
    histograms = Histograms(model, activation_tensors(model), lambda: inputs(count))
    for method in METHODS:
        histograms.ranges(method)


def runtimes(method: CalibrationMethod) -> Callable[[Path, int], None]:
    """Return how to calibrate with one of ONNX Runtime's methods."""

    def calibrate(path: Path, count: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            augmented = str(Path(folder) / "augmented.onnx")
            calibrator = create_calibrator(
                path, augmented_model_path=augmented, calibrate_method=method
            )
            calibrator.collect_data(Reader(count))
            calibrator.compute_data()

    return calibrate


CALIBRATORS: dict[str, Callable[[Path, int], None]] = {
    "edgehaul (5 methods)": ours,
    "onnxruntime MinMax": runtimes(CalibrationMethod.MinMax),
    "onnxruntime Percentile": runtimes(CalibrationMethod.Percentile),
    "onnxruntime Entropy": runtimes(CalibrationMethod.Entropy),
}


def run_child(name: str, path: Path, count: int) -> None:
    """Calibrate and print seconds and peak memory as JSON."""
    started = time.perf_counter()
    CALIBRATORS[name](path, count)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {"seconds": seconds, "processor_seconds": used.ru_utime + used.ru_stime}
    say(json.dumps({**found, "peak_mb": used.ru_maxrss / _KB_PER_MB}))


def measure(name: str, path: Path, count: int, limit_mb: int) -> str:
    """Run a calibrator in a child process with limited memory and return a line on it."""
    command = [sys.executable, __file__, "--child", name, "--model", str(path)]
    done = subprocess.run(
        [*command, "--inputs", str(count)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_mb << 20, limit_mb << 20)),
    )
    if done.returncode:
        cause = (done.stderr.strip().splitlines() or ["no message"])[-1][:60]
        return f"{name:24}{count:7}  failed within {limit_mb} MB: {cause}"
    found = json.loads(done.stdout.splitlines()[-1])
    processor_s, peak_mb = found["processor_seconds"], found["peak_mb"]
    return f"{name:24}{count:7}{found['seconds']:9.1f}{processor_s:13.1f}{peak_mb:9.0f}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="with 10 and 40 inputs")
    parser.add_argument("--limit-mb", type=int, default=6000, help="address space of each child")
    parser.add_argument("--child", choices=CALIBRATORS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--inputs", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    """Compare all calibrators, or be the child that runs one."""
    chosen = parse()
    if chosen.child:
        run_child(chosen.child, chosen.model, chosen.inputs)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet18.onnx"
        torch.manual_seed(0)
        example = torch.zeros(2, 3, SIDE_PX, SIDE_PX)
        names = TensorNames(("input",), ("output",))
        export_module(ResNet(18).eval(), example, names, path)
        say(f"{'calibrator':24}{'inputs':>7}{'seconds':>9}{'processor s':>13}{'peak MB':>9}")
        for name in CALIBRATORS:
            for count in QUICK_COUNTS if chosen.quick else COUNTS:
                say(measure(name, path, count, chosen.limit_mb))


if __name__ == "__main__":
    main()
