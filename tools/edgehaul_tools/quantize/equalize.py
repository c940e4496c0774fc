"""Cross-layer equalisation: channels of like size between layers, with unchanged answers.

Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction",
arXiv:1906.04721, section 4.1. Where ``f(s * x) = s * f(x)`` for positive ``s``, as with Relu, a
layer's output channel may be divided by ``s`` when the next layer's weights for that channel
are multiplied by it. The ``s`` that gives both the same largest weight lets one scale for a whole
tensor serve every channel. A depthwise convolution is the second layer of one pair and the first
of the next; repeating the pairs makes all three equal.

Clip (ReLU6) is no such function, and a tensor that two nodes read (a residual branch) is left
alone. The paper's absorption of high biases is not done: it moves the answers at padded borders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgehaul_tools.quantize.graph import consumers_of
from edgehaul_tools.quantize.homogeneous import Shapes, next_layer

ROUNDS = 30
_SETTLED = 1e-2
"""Rounds end when no scale differs from 1 by more than this part."""
_DEAD = 1e-6
"""Channels below this part of the largest hold nothing but what training has left of zero; to
blow them up would cost digits."""
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})


@dataclass(frozen=True, slots=True)
class Pair:
    """Two layers whose common channels were made alike.

    Attributes:
        first: Name of the node that writes the channels.
        second: Name of the node that reads them.
        ratio_before: Largest / smallest of the first's channels, each by its largest weight;
            dead channels (below a millionth) do not count.
        ratio_after: The same afterwards.
    """

    first: str
    second: str
    ratio_before: float
    ratio_after: float


@dataclass(frozen=True, slots=True)
class Equalized:
    """A model with the same answers and channels of like size.

    Attributes:
        model: The model.
        pairs: What was made alike, in the order of the graph.
        rounds: How often all pairs were gone through.
    """

    model: onnx.ModelProto
    pairs: tuple[Pair, ...]
    rounds: int

    @property
    def largest_ratio_before(self) -> float:
        """Largest ratio of any pair in the model as it came; 1 without pairs."""
        return max((pair.ratio_before for pair in self.pairs), default=1.0)

    @property
    def largest_ratio_after(self) -> float:
        """Largest ratio of any pair now."""
        return max((pair.ratio_after for pair in self.pairs), default=1.0)


def equalize(model: onnx.ModelProto) -> Equalized:
    """Return the model with the channels between its layers made alike.

    Args:
        model: A cleaned float model: batch normalisation folded, shapes inferred.
    """
    equal = onnx.ModelProto()
    equal.CopyFrom(model)
    layers = _Layers(equal.graph)
    links = list(_links(equal.graph, layers))
    before = [layers.ratio(link.first) for link in links]
    rounds = 0
    while links and rounds < ROUNDS:
        rounds += 1
        moved = max(layers.balance(link) for link in links)
        if moved < _SETTLED:
            break
    layers.write()
    pairs = (
        Pair(link.first.name, link.second.name, ratio, layers.ratio(link.first))
        for link, ratio in zip(links, before, strict=True)
    )
    return Equalized(equal, tuple(pairs), rounds)


@dataclass(frozen=True, slots=True)
class _Link:
    first: onnx.NodeProto
    second: onnx.NodeProto
    repeat: int  # inputs of the second for each channel of the first, behind a Flatten


class _Layers:
    """Weights and biases of the nodes, as arrays that are changed in place."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._uses = Counter(name for node in graph.node for name in node.input)
        self._uses.update(output.name for output in graph.output)
        self._arrays: dict[str, NDArray[Any]] = {}

    def owns(self, node: onnx.NodeProto) -> bool:
        """Return whether a node is a layer whose weight and bias are constants of its own."""
        if node.op_type not in _LAYERS or len(node.input) < 2:  # noqa: PLR2004 - input and weight
            return False
        own = [name for name in node.input[1:3] if name]
        if not all(name in self._tensors and self._uses[name] == 1 for name in own):
            return False
        kinds = {self._tensors[name].data_type for name in own}
        if kinds != {onnx.TensorProto.FLOAT} or _attribute(node, "transA", 0):
            return False
        return self._bias_is_per_channel(node)

    def channels(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Return the number of input and output channels."""
        groups, outputs, inputs, _ = self._blocks(node).shape
        return groups * inputs, groups * outputs

    def ratio(self, node: onnx.NodeProto) -> float:
        """Return largest / smallest range of the output channels that are not dead."""
        ranges = _largest(self._blocks(node), (2, 3))
        used = ranges[_alive(ranges)]
        return float(used.max() / used.min()) if used.size else 1.0

    def balance(self, link: _Link) -> float:
        """Make both sides of a link alike; return by which part of 1 a scale differed most."""
        first, second = self._blocks(link.first), self._blocks(link.second)
        out_range = _largest(first, (2, 3)).ravel()
        in_range = _largest(second, (1, 3)).reshape(-1, link.repeat).max(axis=1)
        used = _alive(out_range) & _alive(in_range)
        scale = np.ones_like(out_range)
        scale[used] = np.sqrt(out_range[used] / in_range[used])
        first /= scale.reshape(first.shape[0], first.shape[1], 1, 1)
        wide = np.repeat(scale, link.repeat)
        second *= wide.reshape(second.shape[0], 1, second.shape[2], 1)
        self._divide_bias(link.first, scale)
        return float(np.abs(np.log(scale)).max(initial=0.0))

    def write(self) -> None:
        """Put the arrays back into the graph."""
        for name, array in self._arrays.items():
            self._tensors[name].CopyFrom(numpy_helper.from_array(array, name))

    def _blocks(self, node: onnx.NodeProto) -> NDArray[Any]:
        """Return a view (groups, outputs, inputs, rest) of a node's weight."""
        weight = self._array(node.input[1])
        if node.op_type == "Gemm":
            return (weight if _attribute(node, "transB", 0) else weight.T)[None, :, :, None]
        groups = _attribute(node, "group", 1)
        split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        return split.transpose(0, 2, 1, 3) if node.op_type == "ConvTranspose" else split

    def _divide_bias(self, node: onnx.NodeProto, scale: NDArray[Any]) -> None:
        if _has_bias(node):
            bias = self._array(node.input[2])
            shape = bias.shape if bias.size == scale.size else scale.shape
            self._arrays[node.input[2]] = (bias.ravel() / scale).reshape(shape)

    def _bias_is_per_channel(self, node: onnx.NodeProto) -> bool:
        if not _has_bias(node):
            return True
        shape = self._tensors[node.input[2]].dims
        return int(np.prod(shape)) in {1, self.channels(node)[1]}

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self._tensors[name]).copy()
        return self._arrays[name]


def _links(graph: onnx.GraphProto, layers: _Layers) -> Iterator[_Link]:
    consumers, shapes = consumers_of(graph), Shapes(graph)
    for node in graph.node:
        if not layers.owns(node):
            continue
        found = next_layer(node.output[0], consumers, shapes, _LAYERS)
        if found is None or not layers.owns(found[0]):
            continue
        second, repeat = found
        if layers.channels(node)[1] * repeat == layers.channels(second)[0]:
            yield _Link(node, second, repeat)


def _largest(blocks: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
    largest: NDArray[Any] = np.maximum(blocks.max(axis=axes), -blocks.min(axis=axes))
    return largest


def _alive(ranges: NDArray[Any]) -> NDArray[np.bool_]:
    alive: NDArray[np.bool_] = ranges > _DEAD * ranges.max(initial=0.0)
    return alive


def _has_bias(node: onnx.NodeProto) -> bool:
    return len(node.input) > 2 and bool(node.input[2])  # noqa: PLR2004 - behind input and weight


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    for attribute in node.attribute:
        if attribute.name == name:
            value: int = helper.get_attribute_value(attribute)
            return value
    return default
