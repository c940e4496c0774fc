"""A model that takes the picture as it lies on the canvas: its pre-processing becomes nodes.

The device then does nothing but scale the picture into a buffer of bytes, which is the tensor.
What goes in is uint8 (N, H, W, C) with colours as OpenCV orders them; a Transpose of bytes, and
``float(v) * factor + offset`` make of it what the model took before. The order of the colours
goes into the first weights where it can (:mod:`edgehaul_tools.quantize.channel_order`), and is a
Gather of whole planes elsewhere: along the last axis that takes 2.3 ms at 320x320, and 0.04 ms
along the second.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import ModelError
from edgehaul_tools.export.metadata import SPEC_KEY
from edgehaul_tools.export.runtime import first_line
from edgehaul_tools.quantize.channel_order import reverse_in_weights
from edgehaul_tools.quantize.tensors import nodes_of

_TO_PLANES, _TO_PIXELS = (0, 3, 1, 2), (0, 2, 3, 1)
_STEM = "edgehaul.bytes"
_LEAVE_OUT = "leave out --input bytes"


def takes_canvas(spec: ImageInput) -> bool:
    """Return whether a model takes bytes just as they lie on the canvas.

    Grey is made of colours on the device, where it has to be: a graph would round it otherwise.
    """
    return spec.dtype == "uint8" and spec.layout == "nhwc" and spec.color != "rgb"


def with_byte_input(
    model: onnx.ModelProto, spec: ModelSpec, *, where: Path | str = "model"
) -> tuple[onnx.ModelProto, ModelSpec]:
    """Return a model that takes the canvas and answers the same, and its spec.

    Args:
        model: A cleaned float model.
        spec: Its input and output; where it takes the canvas already, both are returned as given.
        where: Its file, for errors.

    Raises:
        ModelError: It takes no pictures, or its answer is compared with its input.
    """
    given = spec.input
    if not isinstance(given, ImageInput):
        raise ModelError("a sequence model takes no pictures", where=where, remedy=_LEAVE_OUT)
    if takes_canvas(given):
        return model, spec
    if spec.output.head == "autoencoder":
        raise ModelError(
            "the score of an autoencoder is how far its answer is from its input tensor, and bytes "
            "would be another one",
            where=where,
            remedy=f"{_LEAVE_OUT}, or export the score with the model (head anomaly)",
        )
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    _Prefix(folded, given).put()
    taken = msgspec.structs.replace(
        spec,
        input=msgspec.structs.replace(
            given,
            color="gray" if given.color == "gray" else "bgr",
            layout="nhwc",
            dtype="uint8",
            scale=1.0,
            mean=(),
            std=(),
        ),
    )
    kept = {entry.key: entry.value for entry in folded.metadata_props}
    helper.set_model_props(folded, {**kept, SPEC_KEY: msgspec.json.encode(taken).decode()})
    return _checked(folded, where), taken


def affine_of(spec: ImageInput) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return factor and offset (channels,) of ``(v * scale - mean) / std``; (1,) if all agree."""
    mean = np.array(spec.mean or [0.0] * spec.channels)
    std = np.array(spec.std or [1.0] * spec.channels)
    factor, offset = (spec.scale / std).astype(np.float32), (-mean / std).astype(np.float32)
    if (factor == factor[0]).all() and (offset == offset[0]).all():
        return factor[:1], offset[:1]
    return factor, offset


class _Prefix:
    """The nodes between the canvas and what the model took; they change the graph in place."""

    def __init__(self, model: onnx.ModelProto, spec: ImageInput) -> None:
        self._model, self._graph, self._spec = model, model.graph, spec
        self._input = model.graph.input[0]
        self._nodes: list[onnx.NodeProto] = []
        self._tensor = self._input.name

    def put(self) -> None:
        """Give the model an input of bytes under the name of the one that it had."""
        spec = self._spec
        axis = 3 if spec.layout == "nhwc" else 1
        in_weights = spec.color == "rgb" and reverse_in_weights(self._model, self._input.name, axis)
        turn = spec.color == "rgb" and not in_weights
        if spec.layout == "nchw" or turn:
            self._add("Transpose", "planes", perm=_TO_PLANES)
        if turn:
            self._add("Gather", "turned", ("order", np.array([2, 1, 0], np.int64)), axis=1)
            if spec.layout == "nhwc":
                # Most such models go to planes at once: the runtime drops both turns.
                self._add("Transpose", "pixels", perm=_TO_PIXELS)
        if spec.dtype == "float32":
            # Cast keeps every value, so that what is behind it is exact to the last place or two.
            self._add("Cast", "float", to=TensorProto.FLOAT)
            self._normalise(-1 if in_weights else 1)
        if self._nodes:
            self._rename()
            others = list(self._graph.node)
            del self._graph.node[:]
            self._graph.node.extend([*self._nodes, *others])
        self._become_bytes()

    def _normalise(self, step: int) -> None:
        """Add factor and offset, in the order of the channels there (-1: reversed)."""
        factor, offset = (numbers[::step] for numbers in affine_of(self._spec))
        shape = [-1] if self._spec.layout == "nhwc" else [-1, 1, 1]
        if (factor != 1).any():
            self._add("Mul", "scaled", ("factor", factor.reshape(shape)))
        if (offset != 0).any():
            self._add("Add", "moved", ("offset", offset.reshape(shape)))

    def _rename(self) -> None:
        """Let what read the input read another tensor, in branches and loops too."""
        for node in nodes_of(self._model):
            for slot, name in enumerate(node.input):
                if name == self._input.name:
                    node.input[slot] = self._tensor

    def _add(
        self,
        kind: str,
        output: str,
        constant: tuple[str, NDArray[np.generic]] | None = None,
        **attributes: object,
    ) -> None:
        inputs = [self._tensor]
        if constant is not None:
            name, values = constant
            inputs.append(f"{_STEM}.{name}")
            self._graph.initializer.append(numpy_helper.from_array(values, inputs[-1]))
        self._tensor = f"{_STEM}.{output}"
        node = helper.make_node(kind, inputs, [self._tensor], name=self._tensor)
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self._nodes.append(node)

    def _become_bytes(self) -> None:
        kind = self._input.type.tensor_type
        kind.elem_type = TensorProto.UINT8
        if self._spec.layout == "nchw":
            dims = list(kind.shape.dim)
            turned = onnx.TensorShapeProto(dim=[dims[axis] for axis in _TO_PIXELS])
            kind.shape.CopyFrom(turned)


def _checked(model: onnx.ModelProto, where: Path | str) -> onnx.ModelProto:
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(inferred)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(
            f"the model cannot be given an input of bytes: {first_line(error)}",
            where=where,
            remedy=_LEAVE_OUT,
        ) from error
    return inferred
