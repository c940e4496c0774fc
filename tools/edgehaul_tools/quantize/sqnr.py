"""How much of each layer's output is signal and how much quantization noise, in decibels.

Beside :func:`edgehaul_tools.quantize.sensitivity.unit_noise`, which says how far one layer alone
moves the answers, this says how the noise builds up from layer to layer in the whole int8 model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul_tools.export.runtime import processors, runner
from edgehaul_tools.quantize.calibrate import exposing
from edgehaul_tools.quantize.graph import Unit, consumers_of


def layer_sqnr(
    model: onnx.ModelProto,
    int8: onnx.ModelProto,
    tensors: Sequence[NDArray[Any]],
    units: Sequence[Unit],
) -> dict[str, float]:
    """Return the signal-to-quantization-noise ratio of each unit's output, in dB.

    ``10 * log10(sum(float ** 2) / sum((int8 - float) ** 2))`` over all values and inputs, as the
    layers behind see them: rounded, where the output is rounded. Infinite without any noise;
    about 6 dB are one bit.

    Args:
        model: The cleaned float model.
        int8: The same with Q/DQ pairs.
        tensors: A few inputs.
        units: The layers; those whose output the int8 model does not have are left out.
    """
    seen = {unit.name: (unit.output, _as_read(int8.graph, unit.output)) for unit in units}
    pairs = {name: (ours, theirs) for name, (ours, theirs) in seen.items() if theirs}
    if not pairs:
        return {}
    run_float = runner(exposing(model, (ours for ours, _ in pairs.values())), threads=processors())
    run_int8 = runner(
        exposing(int8, (theirs for _, theirs in pairs.values())), threads=processors()
    )
    power = dict.fromkeys(pairs, 0.0)
    noise = dict.fromkeys(pairs, 0.0)
    for tensor in tensors:
        for name, expected, got in zip(pairs, run_float(tensor), run_int8(tensor), strict=True):
            power[name] += float(np.square(expected, dtype=np.float64).sum())
            noise[name] += float(np.square(got - expected, dtype=np.float64).sum())
    return {name: _decibels(power[name], noise[name]) for name in pairs}


def _as_read(graph: onnx.GraphProto, tensor: str) -> str:
    """Return the tensor that stands for a float one in a model with Q/DQ pairs; "" for none."""
    consumers = consumers_of(graph)
    for quantize in consumers[tensor]:
        if quantize.op_type == "QuantizeLinear":
            for dequantize in consumers[quantize.output[0]]:
                if dequantize.op_type == "DequantizeLinear":
                    read: str = dequantize.output[0]
                    return read
    return tensor if any(tensor in node.output for node in graph.node) else ""


def _decibels(power: float, noise: float) -> float:
    if noise <= 0:
        return math.inf
    return 10 * math.log10(power / noise) if power > 0 else -math.inf
