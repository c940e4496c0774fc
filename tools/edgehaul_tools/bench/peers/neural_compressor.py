"""Intel Neural Compressor's post-training quantization of the ONNX model, by its 2.x interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from neural_compressor import (  # type: ignore[import-not-found]  # only in its environment
    PostTrainingQuantConfig,
    quantization,
)
from numpy.typing import NDArray

PACKAGES = ("neural-compressor", "onnx", "onnxruntime")


class _Loader:
    """Inputs one by one, with a label that nobody reads."""

    batch_size = 1

    def __init__(self, calibration: NDArray[np.float32]) -> None:
        self._calibration = calibration

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], int]]:
        return ((one[None], 0) for one in self._calibration)


def _quantized(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    config = PostTrainingQuantConfig(
        approach="static", calibration_sampling_size=[len(calibration)]
    )
    loader = _Loader(calibration)
    done = quantization.fit(str(fp32), config, calib_dataloader=loader)
    onnx.save(done.model, str(out))


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {
    "Neural Compressor static (defaults)": _quantized
}
