"""Networks with fewer channels than their recipe says: what is left of them after pruning.

``weights.pt`` holds tensors alone. The sizes of the layers are read from its shapes, and never
anything that could be executed.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

_Shapes = list[tuple[int, ...]]


class ShapeError(ValueError):
    """Weights have shapes that no pruning of the network can have."""


def narrow(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network's layers the sizes that weights have, and the weights themselves.

    Convolutions (also depthwise and grouped ones), matrices and batch norms may be narrower than
    they are; whatever else has weights, and what goes in and comes out, stays.

    Args:
        network: As the recipe builds it; changed in place.
        weights: A state dict.

    Raises:
        ShapeError: A tensor is missing or of a shape that its layer cannot have.
        RuntimeError: The tensors are not those of this network.
    """
    for name, layer in network.named_modules():
        weight = weights.get(f"{name}.weight")
        if weight is None or weight.shape == getattr(layer, "weight", weight).shape:
            continue
        _narrow_layer(name, layer, weight)
    network.load_state_dict(weights)


def answer_shapes(network: nn.Module, input_shape: tuple[int, ...]) -> _Shapes:
    """Return the shapes of what a network answers.

    Args:
        network: It is run once, in evaluation mode, and left as it was.
        input_shape: Of what it takes, with the batch.

    Raises:
        RuntimeError: One layer's result does not fit the next one.
    """
    training = network.training
    try:
        with torch.no_grad():
            answers = network.eval()(torch.zeros(input_shape))
    finally:
        network.train(training)
    every = answers if isinstance(answers, tuple) else (answers,)
    return [tuple(answer.shape) for answer in every]


def _narrow_layer(name: str, layer: nn.Module, weight: Tensor) -> None:
    """Set the sizes of one layer, and make room for its weights."""
    before: Tensor = layer.weight  # type: ignore[assignment]  # asked for by the caller
    shrunk = weight.ndim == before.ndim and all(
        1 <= new <= old for new, old in zip(weight.shape, before.shape, strict=True)
    )
    if not shrunk:
        raise ShapeError(
            f"{name} has weights {tuple(weight.shape)}, and the recipe's {tuple(before.shape)}"
        )
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        _narrow_convolution(name, layer, weight)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        _narrow_norm(layer, len(weight))
    else:
        raise ShapeError(f"{name} is a {type(layer).__name__}, whose size cannot change")
    layer.weight = nn.Parameter(torch.empty_like(weight, dtype=before.dtype))
    if layer.bias is not None:
        layer.bias = nn.Parameter(torch.zeros(len(weight)))


def _narrow_convolution(name: str, layer: nn.Conv1d | nn.Conv2d, weight: Tensor) -> None:
    if weight.shape[2:] != layer.weight.shape[2:]:
        raise ShapeError(f"{name} has kernels of {tuple(weight.shape[2:])}, which are never pruned")
    outputs, inputs_of_group = int(weight.shape[0]), int(weight.shape[1])
    if layer.groups > 1 and layer.groups == layer.in_channels:  # depthwise: a group a channel
        layer.groups = outputs // (layer.out_channels // layer.in_channels)
    layer.in_channels, layer.out_channels = inputs_of_group * layer.groups, outputs
    if layer.groups < 1 or outputs % layer.groups:
        raise ShapeError(f"{name} has {outputs} channels in {layer.groups} groups")


def _narrow_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d, channels: int) -> None:
    layer.num_features = channels
    layer.running_mean, layer.running_var = torch.zeros(channels), torch.ones(channels)
