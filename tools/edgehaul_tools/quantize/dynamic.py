"""Dynamic int8 for recurrent models: weights S8, activations ranged while it runs."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]  # no stubs

from edgehaul_tools.quantize.saturation import NARROW, WeightBits

_OPERATORS = ["LSTM", "MatMul", "Gemm"]
"""Never convolutions: ranged while they run, they are five times slower than in float."""


def quantize_recurrent(model: onnx.ModelProto, weight_bits: WeightBits = 8) -> onnx.ModelProto:
    """Return the model with int8 weights in its LSTM and dense layers.

    ONNX Runtime has an integer kernel for LSTM only; a GRU stays in float.

    Args:
        model: A float model.
        weight_bits: 7 for processors whose products overflow; see
            :mod:`edgehaul_tools.quantize.saturation`.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # ONNX Runtime's quantizer logs through the root logger
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
            onnx.save(model, str(source))
            quantize_dynamic(
                source,
                out,
                op_types_to_quantize=_OPERATORS,
                per_channel=True,
                reduce_range=weight_bits == NARROW,
                weight_type=QuantType.QInt8,
            )
            return onnx.load(str(out))
    finally:
        root.setLevel(level)
