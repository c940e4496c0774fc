from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ModelSpec, OutputSpec, SequenceInput
from edgehaul_tools.quantize.answers import Prepared
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.fusion import fusion_of
from edgehaul_tools.quantize.graph import clean
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.quantize.quantizer import Quantizer

STEPS, FEATURES, HIDDEN, CLASSES = 6, 4, 16, 3
SPEC = ModelSpec(
    "sequence",
    SequenceInput(
        features=tuple("abcd"),
        window=STEPS,
        interval_s=1.0,
        mean=(0.0,) * FEATURES,
        std=(1.0,) * FEATURES,
    ),
    OutputSpec("sequence", labels=("x", "y", "z")),
)


def lstm_and_dense() -> onnx.ModelProto:
    """Return a model of windows (1, 6, 4): an LSTM, and a dense layer behind its last step."""
    random = np.random.default_rng(0)
    shapes = {
        "w": (1, 4 * HIDDEN, FEATURES),
        "r": (1, 4 * HIDDEN, HIDDEN),
        "dense": (HIDDEN, CLASSES),
    }
    weights = [
        numpy_helper.from_array(random.normal(0, 0.4, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    weights.append(numpy_helper.from_array(np.array([0], np.int64), "first"))
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Transpose", ["input"], ["steps"], name="transpose", perm=[1, 0, 2]),
            node("LSTM", ["steps", "w", "r"], ["", "last"], name="lstm", hidden_size=HIDDEN),
            node("Squeeze", ["last", "first"], ["state"], name="squeeze"),
            node("Gemm", ["state", "dense"], ["logits"], name="gemm"),
        ],
        "recurrent",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, STEPS, FEATURES])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def test_an_lstm_in_front_of_a_dense_layer_becomes_int8_too() -> None:
    model = clean(lstm_and_dense(), where=Path("recurrent.onnx"))
    random = np.random.default_rng(1)
    windows = [random.normal(size=(1, STEPS, FEATURES)).astype(np.float32) for _ in range(8)]

    def inputs() -> Iterator[Prepared]:
        return (Prepared(window) for window in windows)

    quantizer = Quantizer(model, SPEC, inputs, lambda _line: None)
    plan = Plan(Form("dynamic", weight_bits=7))
    fusion = fusion_of(quantizer.build(plan), quantizer.float_nodes(plan))
    assert fusion.operators.get("DynamicQuantizeLSTM") == 1
    assert not fusion.stray
    assert not fusion.failures
