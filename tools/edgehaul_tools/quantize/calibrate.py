"""The ranges of a model's activations, measured on real inputs in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from edgehaul_tools.export.runtime import open_model

Array = NDArray[Any]
Inputs = Callable[[], Iterator[Array]]
"""Gives the calibration tensors, from the start on each call."""
Method = Literal["minmax", "percentile", "mse"]
Ranges = dict[str, tuple[float, float]]

BINS = 2048
SAMPLES_PER_TENSOR = 20_000
"""Values of one tensor and input that enter its histogram; extremes are taken from all."""
PERCENTILE = 99.999
_LEVELS = 255


class Histograms:
    """Extremes and histogram of every activation tensor, from two passes over the inputs.

    Args:
        model: A cleaned float model.
        tensors: Names of the tensors to observe.
        inputs: The calibration tensors.
    """

    def __init__(self, model: onnx.ModelProto, tensors: Iterable[str], inputs: Inputs) -> None:
        self._names = sorted(set(tensors))
        self._session = open_model(exposing(model, self._names))
        self._low = dict.fromkeys(self._names, np.inf)
        self._high = dict.fromkeys(self._names, -np.inf)
        self._counts = {name: np.zeros(BINS, dtype=np.int64) for name in self._names}
        for values in self._observe(inputs):
            self._widen(values)
        for values in self._observe(inputs):
            self._count(values)

    def ranges(self, method: Method) -> Ranges:
        """Return lowest and highest value to represent, for each tensor, always with zero."""
        choose = {"minmax": _whole, "percentile": _percentile, "mse": _least_squares}[method]
        found: Ranges = {}
        for name in self._names:
            low, high = self._low[name], self._high[name]
            if not np.isfinite([low, high]).all() or high <= low:
                low, high = (0.0, 0.0) if not np.isfinite([low, high]).all() else (low, high)
                found[name] = (min(low, 0.0), max(high, 0.0))
                continue
            edges = np.linspace(low, high, BINS + 1)
            low, high = choose(self._counts[name], edges)
            found[name] = (min(low, 0.0), max(high, 0.0))
        return found

    def _observe(self, inputs: Inputs) -> Iterator[dict[str, Array]]:
        feed = self._session.get_inputs()[0].name
        for tensor in inputs():
            yield dict(
                zip(self._names, self._session.run(self._names, {feed: tensor}), strict=True)
            )

    def _widen(self, values: dict[str, Array]) -> None:
        for name, value in values.items():
            if value.size:
                self._low[name] = min(self._low[name], float(value.min()))
                self._high[name] = max(self._high[name], float(value.max()))

    def _count(self, values: dict[str, Array]) -> None:
        for name, value in values.items():
            low, high = self._low[name], self._high[name]
            if not (np.isfinite([low, high]).all() and high > low):
                continue
            flat = value.ravel()
            flat = flat[:: max(1, flat.size // SAMPLES_PER_TENSOR)]
            index = ((flat - low) * (BINS / (high - low))).astype(np.int32)
            self._counts[name] += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)


def activation_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the names of all float activations of a cleaned model, its inputs included."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    typed = [*graph.value_info, *graph.input, *graph.output]
    return [
        value.name
        for value in typed
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and value.name not in weights
    ]


def exposing(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Return the model with these float tensors as its outputs, in this order."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    exposed.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return exposed


def _whole(_counts: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[float, float]:
    return float(edges[0]), float(edges[-1])


def _percentile(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[float, float]:
    share = np.cumsum(counts) / max(1, counts.sum())
    outside = (1 - PERCENTILE / 100) / 2
    low = int(np.searchsorted(share, outside))
    high = int(np.searchsorted(share, 1 - outside))
    return float(edges[low]), float(edges[min(high + 1, BINS)])


def _least_squares(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range with the least squared error of rounding and clipping (8 bits)."""
    centers = (edges[:-1] + edges[1:]) / 2
    low, high = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    for _ in range(2):
        high = min(
            (high * part for part in np.linspace(0.2, 1.0, 41)),
            key=lambda candidate: _squared_error(counts, centers, low, candidate),
        )
        low = min(
            (low * part for part in np.linspace(0.2, 1.0, 41)),
            key=lambda candidate: _squared_error(counts, centers, candidate, high),
        )
    return low, high


def _squared_error(
    counts: NDArray[np.int64], centers: NDArray[np.float64], low: float, high: float
) -> float:
    step = (high - low) / _LEVELS
    if step <= 0:
        return float("inf")
    zero = np.rint(-low / step)
    rounded = (np.clip(np.rint(centers / step) + zero, 0, _LEVELS) - zero) * step
    return float(np.dot(counts, (rounded - centers) ** 2))
