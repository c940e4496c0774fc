"""What every network of the table costs: weights, multiplications, and time in fp32 and int8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import torch
from numpy.typing import NDArray

from edgehaul_tools.export.machine import machine
from edgehaul_tools.export.onnx_model import TensorNames, export_module
from edgehaul_tools.export.runtime import interleaved_medians_ms, runner
from edgehaul_tools.quantize.calibrate import Histograms, activation_tensors
from edgehaul_tools.quantize.dynamic import quantize_dynamically
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.graph import clean, divide, float_region, is_recurrent, load_model
from edgehaul_tools.quantize.static import quantize_static
from edgehaul_tools.train.architectures.architecture import Architecture
from edgehaul_tools.train.architectures.complexity import measure_complexity

ROUNDS = 15
_CALIBRATION_INPUTS = 4
_TRACED_BATCH = 2
_NOT_RUN_ON_A_BOX = {"generate", "judge"}


class ModelCost(msgspec.Struct, frozen=True):
    """One row of the table of networks.

    Attributes:
        name: Name in recipes.
        task: What it is for.
        input_shape: Of one input, without the batch.
        parameters: Number of weights.
        macs: Multiplications with an addition for one input.
        int8: How well it bears int8: ``good``, ``fair`` or ``poor``.
        int8_reason: Why.
        fp32_ms: Processor time of one input on one thread; none for what no box runs.
        int8_ms: The same in int8: static, or dynamic for recurrent networks.
        fp32_bytes: Size of the ONNX file.
        int8_bytes: Size of the int8 ONNX file.
        paper: Where the network is from.
    """

    name: str
    task: str
    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    int8: str
    int8_reason: str
    fp32_ms: float | None
    int8_ms: float | None
    fp32_bytes: int
    int8_bytes: int
    paper: str


def measure_models(
    rows: Iterable[Architecture],
    rounds: int = ROUNDS,
    told: Callable[[ModelCost], None] = lambda _cost: None,
) -> list[ModelCost]:
    """Measure networks with random weights at their listed sizes.

    Args:
        rows: Of the table.
        rounds: Runs of each form; fp32 and int8 take turns, and the median counts.
        told: Called after each.
    """
    costs = []
    for row in rows:
        costs.append(_measure(row, rounds))
        told(costs[-1])
    return costs


def _measure(row: Architecture, rounds: int) -> ModelCost:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = row.listed()
    complexity = measure_complexity(network, *row.example())
    sizes = (0, 0)
    times: tuple[float, float] | tuple[None, None] = (None, None)
    if row.task not in _NOT_RUN_ON_A_BOX:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            (example,) = row.example(_TRACED_BATCH)
            export_module(network, example, TensorNames(("input",), _output_names(row)), path)
            sizes, times = _timed(path, row, rounds)
    return ModelCost(
        name=row.name,
        task=row.task,
        input_shape=row.input_shape,
        parameters=complexity.parameters,
        macs=complexity.macs,
        int8=row.int8.word,
        int8_reason=row.int8.reason,
        fp32_ms=times[0],
        int8_ms=times[1],
        fp32_bytes=sizes[0],
        int8_bytes=sizes[1],
        paper=row.paper,
    )


def _output_names(row: Architecture) -> tuple[str, ...]:
    return ("logits", "distances") if row.task == "detect" else ("output",)


def _timed(
    path: Path, row: Architecture, rounds: int
) -> tuple[tuple[int, int], tuple[float, float]]:
    """Return bytes and milliseconds of fp32 and int8."""
    fp32 = clean(load_model(path), where=path)
    inputs = [row.example()[0].numpy()]
    random = np.random.default_rng(0)
    inputs += [
        random.random(inputs[0].shape, dtype=np.float32) for _ in range(_CALIBRATION_INPUTS - 1)
    ]
    int8 = (
        quantize_dynamically(fp32, Form("dynamic"))
        if is_recurrent(fp32)
        else _quantized(fp32, inputs)
    )
    fp32_ms, int8_ms = interleaved_medians_ms([runner(fp32), runner(int8)], inputs[0], rounds)
    return (fp32.ByteSize(), int8.ByteSize()), (fp32_ms, int8_ms)


def _quantized(model: onnx.ModelProto, inputs: list[NDArray[np.float32]]) -> onnx.ModelProto:
    """Return the all-int8 form; its answers do not matter here, its time does."""
    histograms = Histograms(model, activation_tensors(model), lambda: iter(inputs))
    region = float_region(model.graph, divide(model.graph), ())
    return quantize_static(model, histograms.ranges("minmax"), float_nodes=region)


def markdown_page(costs: Iterable[ModelCost]) -> str:
    """Return the rows as a document that says where and how they were measured."""
    lines = [
        "# What each network costs",
        "",
        "Written by `edgehaul bench models --markdown docs/models.md`: medians of one input",
        "at a time on one thread, of untrained networks, fp32 and int8 in turns. int8 is all-int8",
        "here: static, or dynamic for recurrent networks; on processors with integer dot products",
        "it gains more.",
        f"ONNX Runtime {onnxruntime.__version__} on {machine()}.",
        "",
        "| network | task | input | parameters | MACs | int8 | fp32 ms | int8 ms | ratio | from |",
        "|---|---|---|--:|--:|---|--:|--:|--:|---|",
    ]
    for cost in costs:
        cells = (
            f"`{cost.name}`",
            cost.task,
            "x".join(map(str, cost.input_shape)),
            f"{cost.parameters / 1e6:.2f} M",
            f"{cost.macs / 1e6:,.1f} M",
            f"{cost.int8}: {cost.int8_reason}",
            *times_shown(cost),
            cost.paper,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def times_shown(cost: ModelCost) -> tuple[str, str, str]:
    """Return the time in fp32 and int8 and their ratio, for people."""
    if cost.fp32_ms is None or cost.int8_ms is None:
        return "-", "-", "-"
    return f"{cost.fp32_ms:.2f}", f"{cost.int8_ms:.2f}", f"{cost.int8_ms / cost.fp32_ms:.2f}"
