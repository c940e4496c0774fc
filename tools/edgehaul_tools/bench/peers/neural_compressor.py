"""Intel Neural Compressor for ONNX, at its defaults.

Version 3 of ``neural-compressor`` knows no ONNX any more; ``onnx-neural-compressor`` took over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx_neural_compressor import data_reader  # type: ignore[import-not-found]  # see above
from onnx_neural_compressor.quantization import (  # type: ignore[import-not-found]  # as above
    config,
    quantize,
)

PACKAGES = ("onnx-neural-compressor", "onnx", "onnxruntime")


class _Reader(data_reader.CalibrationDataReader):  # type: ignore[misc]  # the base has no types
    def __init__(self, name: str, calibration: NDArray[np.float32]) -> None:
        self._name, self._calibration = name, calibration
        self.rewind()

    def rewind(self) -> None:
        """Begin again."""
        self._inputs = iter(self._calibration)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input by its name, or none after the last one."""
        one = next(self._inputs, None)
        return None if one is None else {self._name: one[None]}


def _quantized(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    name = onnx.load(str(fp32)).graph.input[0].name
    settings = config.StaticQuantConfig(calibration_data_reader=_Reader(name, calibration))
    quantize(str(fp32), str(out), settings)


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {
    "Neural Compressor static (defaults)": _quantized
}
