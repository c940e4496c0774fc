"""Small float models of pictures, as other tools export them: normalised tensors go in."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul_tools.quantize.graph import clean

Start = Literal["conv", "shared", "grouped", "focus", "clipped", "unit", "branch"]
SIDE_PX = 16
NAME = "pixels"


class _Network:
    """Nodes and constants, while they are written."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._random = np.random.default_rng(5)

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants[name] = values
        return name

    def convolution(self, tensor: str, name: str, *shape: int, group: int = 1) -> str:
        if name not in self.constants:
            self.constant(name, self._random.normal(0, 0.3, shape).astype(np.float32))
        return self.add("Conv", tensor, name, pads=[1, 1, 1, 1], group=group)

    def focus(self, tensor: str) -> str:
        """Add YOLO's focus: each second pixel of each second row, four times."""
        for name, values in (("axes", [2, 3]), ("steps", [2, 2]), ("ends", [99, 99])):
            self.constant(name, np.array(values))
        parts = []
        for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
            start = self.constant("start{}{}".format(*corner), np.array(corner))
            parts.append(self.add("Slice", tensor, start, "ends", "axes", "steps"))
        return self.add("Concat", *parts, axis=1)

    def unit(self, tensor: str, channels: int) -> str:
        """Add a normalisation by numbers of each channel."""
        mean = self._random.uniform(0.1, 0.5, (channels, 1, 1)).astype(np.float32)
        factor = self._random.uniform(1, 4, (1, channels, 1, 1)).astype(np.float32)
        moved = self.add("Sub", tensor, self.constant("mean", mean))
        return self.add("Mul", moved, self.constant("factor", factor))

    def branch(self, tensor: str) -> str:
        """Add a choice by brightness, which no picture decides, both sides of which read it."""
        level = self.add("ReduceMean", tensor, keepdims=0)
        bright = self.add("Greater", level, self.constant("middle", np.array(1e6, np.float32)))
        sides = {}
        for side, kind in (("then_branch", "Abs"), ("else_branch", "Neg")):
            node = helper.make_node(kind, [tensor], [side], name=side)
            value = helper.make_tensor_value_info(side, TensorProto.FLOAT, None)
            sides[side] = helper.make_graph([node], side, [], [value])
        return self.add("If", bright, **sides)


def float_classifier(spec: ImageInput, start: Start = "conv") -> onnx.ModelProto:
    """Return a cleaned classifier of two classes, for any number of pictures at a time.

    Args:
        spec: What it takes: 16x16 pixels.
        start: What reads the input: a convolution; two with the same weights; one with a group
            for each channel; YOLO's focus; a Clip; a normalisation of each channel; an If.
    """
    made, channels, tensor, width = _Network(), spec.channels, NAME, 8
    if spec.layout == "nhwc":
        tensor = made.add("Transpose", tensor, perm=[0, 3, 1, 2])
    if start == "grouped":
        width = channels * 2
        tensor = made.convolution(tensor, "w", width, 1, 3, 3, group=channels)
    elif start == "shared":
        one = made.convolution(tensor, "w", 8, channels, 3, 3)
        other = made.add("Conv", tensor, "w", pads=[2] * 4, dilations=[2, 2])
        tensor = made.add("Add", made.add("Relu", one), other)
    elif start == "focus":
        tensor = made.convolution(made.focus(tensor), "w", 8, channels * 4, 3, 3)
    else:
        if start == "clipped":
            low = made.constant("low", np.array(-9, np.float32))
            tensor = made.add("Clip", tensor, low, made.constant("high", np.array(300, np.float32)))
        elif start == "unit":
            tensor = made.unit(tensor, channels)
        elif start == "branch":
            tensor = made.branch(tensor)
        tensor = made.convolution(tensor, "w", 8, channels, 3, 3)
    tensor = made.convolution(made.add("Relu", tensor), "w2", 2, width, 3, 3)
    last = made.add("ReduceMean", tensor, axes=[2, 3], keepdims=0)
    _, *sides = spec.tensor_shape
    graph = helper.make_graph(
        made.nodes,
        "float",
        [helper.make_tensor_value_info(NAME, TensorProto.FLOAT, ["batch", *sides])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(value, name) for name, value in made.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return clean(model, where=Path("float"))


def classifier_spec(canvas: ImageInput) -> ModelSpec:
    """Return the spec of such a model."""
    return ModelSpec("classify", canvas, OutputSpec("classify", ("a", "b")))
