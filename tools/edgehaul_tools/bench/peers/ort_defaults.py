"""``onnxruntime.quantization`` as its documentation calls it, and the better known settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs
from numpy.typing import NDArray
from onnxruntime.quantization import (  # type: ignore[import-untyped]  # no stubs
    CalibrationDataReader,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

PACKAGES = ("onnxruntime",)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # the base has no types
    def __init__(self, fp32: Path, calibration: NDArray[np.float32]) -> None:
        session = onnxruntime.InferenceSession(str(fp32), providers=["CPUExecutionProvider"])
        self._name = session.get_inputs()[0].name
        self._inputs = iter(calibration)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next input by its name, or none after the last one."""
        one = next(self._inputs, None)
        return None if one is None else {self._name: one[None]}


def _static_defaults(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    quantize_static(fp32, out, _Reader(fp32, calibration))


def _static_u8s8(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    reader = _Reader(fp32, calibration)
    quantize_static(fp32, out, reader, per_channel=True, activation_type=QuantType.QUInt8)


def _static_narrow(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    reader = _Reader(fp32, calibration)
    quantize_static(
        fp32, out, reader, per_channel=True, activation_type=QuantType.QUInt8, reduce_range=True
    )


def _dynamic(fp32: Path, calibration: NDArray[np.float32], out: Path) -> None:
    del calibration
    quantize_dynamic(fp32, out)


FORMS: dict[str, Callable[[Path, NDArray[np.float32], Path], None]] = {
    "ORT static S8S8 (defaults)": _static_defaults,
    "ORT static U8S8 per channel": _static_u8s8,
    "ORT static U8S8 per channel, 7 bits": _static_narrow,
    "ORT dynamic (defaults)": _dynamic,
}
