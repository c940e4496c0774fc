"""Batch norm folded into the convolution before it, while both go on learning.

The exporter folds each norm into its convolution, and int8 rounds the product. So that is what
must be rounded in the training as well (Jacob et al. 2018, "Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference", section 3.2). Mean and variance stay as
they are: a network that was trained needs no others, and int8 uses these.

Nothing is rebuilt for it: convolutions and norms keep their weights, a norm may follow a
convolution that another one follows, too, and what is trained fits the network as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def folded(weight: Tensor, bias: Tensor | None, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one layer that does what a layer and its batch norm do.

    Args:
        weight: (outputs, ...) of a convolution or a matrix.
        bias: (outputs,) or none.
        norm: What follows; its running mean and variance are used.

    Raises:
        ValueError: The norm keeps no mean and variance.
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a batch norm without running mean and variance cannot be folded")
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean if bias is None else bias - mean
    shifted = shift * scale
    if norm.bias is not None:
        shifted = shifted + norm.bias
    return weight * scale.view(-1, *[1] * (weight.ndim - 1)), shifted
