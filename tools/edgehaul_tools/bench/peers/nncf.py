"""NNCF's post-training quantization of the ONNX model, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nncf  # type: ignore[import-not-found]  # only in its environment
import numpy as np
import onnx
from numpy.typing import NDArray

PACKAGES = ("nncf", "onnx")


def _quantized(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    model = onnx.load(str(fp32))
    name = model.graph.input[0].name
    dataset = nncf.Dataset(list(calibration), lambda one: {name: one[None]})
    onnx.save(nncf.quantize(model, dataset, subset_size=len(calibration)), str(out))


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {
    "NNCF, run by ORT": _quantized
}
