"""Dynamic int8: weights S8 or U8, activations ranged while the model runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]  # no stubs

from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.static import quiet_quantizer

_OPERATORS = ["LSTM", "MatMul", "Gemm"]
"""Never convolutions: ranged while they run, they are five times slower than in float."""


def quantize_dynamically(
    model: onnx.ModelProto, form: Form, *, float_nodes: Iterable[str] = ()
) -> onnx.ModelProto:
    """Return the model with int8 weights in its LSTM and dense layers.

    ONNX Runtime has an integer kernel for LSTM only; a GRU stays in float.

    Args:
        model: A float model.
        form: Of the ``dynamic`` representation.
        float_nodes: Names of the nodes that stay in float.
    """
    with quiet_quantizer(), tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, str(source))
        quantize_dynamic(
            source,
            out,
            op_types_to_quantize=_OPERATORS,
            per_channel=form.per_channel,
            reduce_range=form.reduce_range,
            weight_type=QuantType.QInt8 if form.weights == "s8" else QuantType.QUInt8,
            nodes_to_exclude=sorted(float_nodes),
        )
        return onnx.load(str(out))
