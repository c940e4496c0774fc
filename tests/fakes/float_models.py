"""Small float models of pictures, as other tools export them: normalised tensors in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul_tools.quantize.graph import clean

Start = Literal["conv", "shared", "grouped", "focus", "clipped", "two", "unit"]
SIDE_PX = 16
NAME = "pixels"


def write_float_classifier(
    spec: ImageInput, start: Start = "conv", *, batch: int | str = "batch", opset: int = 17
) -> onnx.ModelProto:
    """Return a cleaned classifier with two convolutions and two classes.

    Args:
        spec: What it takes: 16x16 pixels.
        start: What reads the input: one convolution; one whose weights another layer reads, too;
            one with a group for each channel; the four parts of YOLO's focus; a Clip; two
            convolutions; a normalisation by a mean and factor of its own for each channel.
        batch: Size of the batch, or its name.
        opset: Of the model.
    """
    random = np.random.default_rng(5)
    channels = spec.channels
    constants: dict[str, np.ndarray] = {}
    nodes: list[NodeProto] = []
    last = NAME

    def add(kind: str, *inputs: str, **attributes: object) -> str:
        output = f"t{len(nodes)}"
        nodes.append(helper.make_node(kind, inputs, [output], name=f"n{len(nodes)}", **attributes))
        return output

    def weight(name: str, *shape: int) -> str:
        constants[name] = random.normal(0, 0.3, shape).astype(np.float32)
        return name

    if spec.layout == "nhwc":
        last = add("Transpose", last, perm=[0, 3, 1, 2])
    same = {"pads": [1, 1, 1, 1]}
    match start:
        case "grouped":
            last = add("Conv", last, weight("w", channels * 2, 1, 3, 3), group=channels, **same)
        case "focus":
            last = _focus(add, last, constants)
            last = add("Conv", last, weight("w", 8, channels * 4, 3, 3), **same)
        case "clipped":
            constants |= {"low": np.array(-9, np.float32), "high": np.array(9, np.float32)}
            last = add("Clip", last, "low", "high")
            last = add("Conv", last, weight("w", 8, channels, 3, 3), **same)
        case "two" | "shared":
            other = "w" if start == "shared" else weight("v", 8, channels, 3, 3)
            first = add("Conv", last, weight("w", 8, channels, 3, 3), **same)
            second = add("Conv", last, other, **same)
            if start == "shared":
                constants["given"] = random.normal(0, 1, (1, channels, 16, 16)).astype(np.float32)
                second = add("Add", second, add("Conv", "given", "w", **same))
            last = add("Add", first, second)
        case "unit":
            constants["mean"] = random.uniform(0.1, 0.5, (channels, 1, 1)).astype(np.float32)
            constants["by"] = random.uniform(1, 4, (1, channels, 1, 1)).astype(np.float32)
            last = add("Mul", add("Sub", last, "mean"), "by")
            last = add("Conv", last, weight("w", 8, channels, 3, 3), **same)
        case _:
            last = add("Conv", last, weight("w", 8, channels, 3, 3), **same)
    width = channels * 2 if start == "grouped" else 8
    last = add("Conv", add("Relu", last), weight("w2", 2, width, 3, 3), **same)
    nodes.append(helper.make_node("ReduceMean", [last], ["y"], name="mean_of", axes=[2, 3]))
    nodes[-1].attribute.append(helper.make_attribute("keepdims", 0))
    _, *sides = spec.tensor_shape
    graph = helper.make_graph(
        nodes,
        "float",
        [helper.make_tensor_value_info(NAME, TensorProto.FLOAT, [batch, *sides])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return clean(made, where=Path("float"))


def _focus(add: "AddNode", tensor: str, constants: dict[str, np.ndarray]) -> str:
    constants |= {"axes": np.array([2, 3]), "steps": np.array([2, 2]), "ends": np.array([99, 99])}
    parts = []
    for row in (0, 1):
        for column in (0, 1):
            constants[f"start{row}{column}"] = np.array([row, column])
            parts.append(add("Slice", tensor, f"start{row}{column}", "ends", "axes", "steps"))
    return add("Concat", *parts, axis=1)


class AddNode:  # a protocol for the checker alone
    def __call__(self, kind: str, *inputs: str, **attributes: object) -> str: ...


def classifier_spec(canvas: ImageInput, labels: Sequence[str] = ("a", "b")) -> ModelSpec:
    """Return the spec of such a model."""
    return ModelSpec("classify", canvas, OutputSpec("classify", tuple(labels)))
