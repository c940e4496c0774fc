"""What settings of ONNX Runtime do to the memory and time of one session shared by two threads.

Each setting is measured in fresh processes of its own, in turns with the others: time to load, time
of a run while all threads run, and resident memory (``/proc/self/statm``) that the session and its
runs have added. Run::

    python tests/bench/session_memory.py --model FILE.onnx [--threads 2] [--runs 40] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
SETTINGS = (
    "default",
    "no-arena",
    "same-as-requested",
    "shrinkage",
    "initializers-outside-arena",
    "no-prepacking",
    "optimised-onnx",
    "optimised-ort",
    "optimised-onnx-not-again",
    "optimised-ort-no-arena",
    "optimised-ort-shrinkage",
)


def rss_mib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def base_options() -> onnxruntime.SessionOptions:
    """Return what the agent sets anyway."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return options


def set_up(setting: str) -> tuple[onnxruntime.SessionOptions, onnxruntime.RunOptions | None]:
    """Return the options of a setting."""
    options, run_options = base_options(), None
    if "no-arena" in setting:
        options.enable_cpu_mem_arena = False
    if setting == "same-as-requested":
        memory = onnxruntime.OrtMemoryInfo(
            "Cpu",
            onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            onnxruntime.OrtMemType.DEFAULT,
        )
        arena = onnxruntime.OrtArenaCfg(
            {
                "max_mem": 0,
                "arena_extend_strategy": 1,
                "initial_chunk_size_bytes": -1,
                "max_dead_bytes_per_chunk": -1,
            }
        )
        onnxruntime.create_and_register_allocator(memory, arena)
        options.add_session_config_entry("session.use_env_allocators", "1")
    if "shrinkage" in setting:
        run_options = onnxruntime.RunOptions()
        run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    if setting == "initializers-outside-arena":
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    if setting == "no-prepacking":
        options.add_session_config_entry("session.disable_prepacking", "1")
    if setting == "optimised-onnx-not-again":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options, run_options


def measure(setting: str, model: Path, threads: int, runs: int) -> dict[str, float]:
    """Load and run in this process."""
    options, run_options = set_up(setting)
    before = rss_mib()
    start_s = time.perf_counter()
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    load_ms = (time.perf_counter() - start_s) * 1000
    loaded = rss_mib()
    (info,) = session.get_inputs()
    shape = [side if isinstance(side, int) else 1 for side in info.shape]
    tensor = np.random.default_rng(0).integers(0, 255, shape).astype(DTYPES[info.type])

    def work(_: int) -> list[float]:
        times = []
        for _ in range(runs):
            start_s = time.perf_counter()
            session.run(None, {info.name: tensor}, run_options)
            times.append((time.perf_counter() - start_s) * 1000)
        return times

    with ThreadPoolExecutor(threads) as pool:
        times = [time_ms for part in pool.map(work, range(threads)) for time_ms in part]
    return {
        "load_ms": load_ms,
        "run_ms": statistics.median(times),
        "loaded_mib": loaded - before,
        "after_runs_mib": rss_mib() - before,
    }


def write_optimised(model: Path, folder: Path) -> dict[str, Path]:
    """Write what ONNX Runtime makes of the model, in both forms."""
    paths = {}
    for form in ("onnx", "ort"):
        paths[form] = folder / f"optimised.{form}"
        options = base_options()
        options.optimized_model_filepath = str(paths[form])
        onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return paths


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        figures = measure(options.child, options.model, options.threads, options.runs)
        sys.stdout.write(json.dumps(figures))
        return
    with tempfile.TemporaryDirectory() as folder:
        optimised = write_optimised(options.model, Path(folder))
        found: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
        for _ in range(options.rounds):
            for setting in SETTINGS:
                form = setting.split("-")[1] if setting.startswith("optimised") else ""
                command = [sys.executable, __file__, "--child", setting]
                command += ["--model", str(optimised.get(form, options.model))]
                command += ["--threads", str(options.threads), "--runs", str(options.runs)]
                done = subprocess.run(command, check=True, capture_output=True)
                found[setting].append(json.loads(done.stdout))
    keys = ("load_ms", "run_ms", "loaded_mib", "after_runs_mib")
    lines = [f"| setting | {' | '.join(keys)} |", "|---|--:|--:|--:|--:|"]
    for setting, rows in found.items():
        cells = (f"{statistics.median(row[key] for row in rows):.1f}" for key in keys)
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
