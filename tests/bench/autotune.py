"""Whether the box picks the variant that a separate measurement finds fastest.

For each network a bundle is made with fp32 and three int8 forms by ONNX Runtime's own quantizer
(static U8S8 and S8S8, dynamic), and ``edgehaul-agent install`` installs it several times. The picks
are compared with a measurement that shares no code with the agent's: as many threads as there are
processors call one session for a window of time, the windows of all variants follow each other in
random order, and frames are counted. Run::

    python tests/bench/autotune.py --work FOLDER [--models yolo_relu,lstm] [--installs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgehaul.bundle.archive import file_entries, write_bundle
from edgehaul.bundle.golden import RunModel, record_golden
from edgehaul.bundle.manifest import Manifest, Precision, Variant
from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.bundle.tensors import tensor_maker
from edgehaul.motion.features import FEATURES
from edgehaul_tools.bench.zoo.zoo import ZOO, export_fp32

MODELS = "yolo_relu,mobilenet_v2,resnet18,lstm"
STEPS = 1
"""Time does not depend on what a network has learnt."""
WINDOW_S = 0.15
CORES = len(os.sched_getaffinity(0))


class Inputs(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime ships no types
    """Inputs to calibrate on.

    Args:
        tensors: The inputs.
    """

    def __init__(self, tensors: Sequence[NDArray[np.float32]]) -> None:
        self._feeds = iter([{"x": tensor} for tensor in tensors])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next one."""
        return next(self._feeds, None)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Load a model for one thread a run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def write_variants(name: str, work: Path) -> dict[str, Path]:
    """Write the forms of a network."""
    fp32, samples = export_fp32(ZOO[name], work, STEPS), ZOO[name].samples(8, 1).tensors
    folder = work / name
    folder.mkdir(exist_ok=True)
    paths = {form: folder / f"{form}.onnx" for form in ("fp32", "u8s8", "s8s8", "dynamic")}
    paths["fp32"].write_bytes(fp32.read_bytes())
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(fp32), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(str(prepared), str(paths["dynamic"]))
    for form, kind in (("u8s8", QuantType.QUInt8), ("s8s8", QuantType.QInt8)):
        quantize_static(
            str(prepared),
            str(paths[form]),
            Inputs([sample[None] for sample in samples]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=kind,
            weight_type=QuantType.QInt8,
        )
    return paths


def spec_of(name: str) -> ModelSpec:
    """Return the spec of a network; one of series is said to be of a receiver's motion."""
    spec = ZOO[name].spec
    if isinstance(spec.input, ImageInput):
        return spec
    features = tuple(FEATURES)[: len(spec.input.features)]
    series = msgspec.structs.replace(spec.input, features=features)
    return msgspec.structs.replace(spec, input=series)


def raw_inputs(spec: ModelSpec) -> list[NDArray[np.generic]]:
    """Return inputs as a camera or a receiver gives them."""
    rng = np.random.default_rng(0)
    if isinstance(spec.input, ImageInput):
        shape = (spec.input.height, spec.input.width, 3)
        return [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2)]
    steps, features = spec.input.tensor_shape[1:]
    return [rng.normal(size=(steps, features)).astype(np.float32) for _ in range(2)]


def pack(name: str, paths: dict[str, Path], work: Path) -> Path:
    """Write the bundle of a network."""
    spec = spec_of(name)

    sessions = {form: open_session(path) for form, path in paths.items()}
    precisions: dict[str, Precision] = {}
    for form in paths:
        precisions[form] = "fp32" if form == "fp32" else "int8"

    def runner(form: str) -> RunModel:
        session = sessions[form]
        return lambda tensor: session.run(None, {session.get_inputs()[0].name: tensor})

    golden, files = record_golden(
        raw_inputs(spec),
        tensor_maker(spec),
        {form: (precisions[form], runner(form)) for form in paths},
    )
    content: dict[str, bytes | Path] = {**files, **{f"{form}.onnx": p for form, p in paths.items()}}
    manifest = Manifest(
        name=name.replace("_", "-"),
        version="1.0.0",
        spec=spec,
        variants=tuple(Variant(form, f"{form}.onnx", precisions[form]) for form in paths),
        files=file_entries(content),
        golden=golden,
    )
    bundle = work / f"{name}.edgehaul"
    write_bundle(bundle, manifest, content)
    return bundle


def installs(bundle: Path, count: int) -> Iterator[dict[str, object]]:
    """Install a bundle so often, each time on an empty device, and yield the reports."""
    for _ in range(count):
        with tempfile.TemporaryDirectory() as root:
            start_s = time.monotonic()
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "edgehaul_agent",
                    "install",
                    bundle,
                    "--root",
                    root,
                    "--json",
                ],
                check=False,
                capture_output=True,
            )
            if done.returncode:
                sys.exit(done.stderr.decode())
            yield json.loads(done.stdout) | {"took_s": time.monotonic() - start_s}


def frames_per_s(session: onnxruntime.InferenceSession, tensor: object) -> float:
    """Return how many frames all processors get through in a window."""
    name, until_s, counts = session.get_inputs()[0].name, time.monotonic() + WINDOW_S, []

    def work() -> None:
        count = 0
        while time.monotonic() < until_s:
            session.run(None, {name: tensor})
            count += 1
        counts.append(count)

    start_s = time.monotonic()
    threads = [threading.Thread(target=work) for _ in range(CORES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - start_s)


def measure(paths: dict[str, Path], spec: ModelSpec, rounds: int) -> dict[str, float]:
    """Return ms a frame of each form, windows in random order."""
    tensor = np.array(tensor_maker(spec)(raw_inputs(spec)[0]))
    sessions = {form: open_session(path) for form, path in paths.items()}
    found: dict[str, list[float]] = {form: [] for form in sessions}
    rng = random.Random(0)
    for number in range(rounds + 1):
        for form in rng.sample(sorted(sessions), len(sessions)):
            speed = frames_per_s(sessions[form], tensor)
            if number:
                found[form].append(1000 / speed)
    return {form: statistics.median(times) for form, times in found.items()}


def compare(name: str, work: Path, count: int, rounds: int) -> None:
    """Print the picks of one network beside what is measured."""
    paths = write_variants(name, work)
    reports = list(installs(pack(name, paths, work), count))
    measured = measure(paths, spec_of(name), rounds)
    best = min(measured, key=measured.__getitem__)
    picks = [str(report["variant"]) for report in reports]
    say = sys.stdout.write
    for form, time_ms in measured.items():
        timed = [
            timing["shared_ms"]
            for report in reports
            for timing in report["tuning"]["variants"]  # type: ignore[index] # JSON
            if timing["variant"] == form
        ]
        mark = "fastest" if form == best else ""
        told = ", ".join(f"{value:.2f}" for value in timed)
        say(f"| {name} | {form} | {time_ms:.2f} | {told} | {picks.count(form)} | {mark} |\n")
    regret = max(measured[pick] for pick in picks) / measured[best] - 1
    took_s = max(float(str(report["took_s"])) for report in reports)
    say(f"{name}: {picks.count(best)} of {count} picks are the fastest; a wrong one costs at most ")
    say(f"{regret:.1%}; an installation took {took_s:.1f} s at most\n")


def main() -> None:
    """Compare network by network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="keeps what is made")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--installs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    sys.stdout.write("| network | form | measured apart, ms | at installations, ms | picks | |\n")
    sys.stdout.write("|---|---|--:|--:|--:|---|\n")
    for name in options.models.split(","):
        compare(name, options.work, options.installs, options.rounds)


if __name__ == "__main__":
    main()
