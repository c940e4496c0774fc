"""Layers that several networks are built of."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Module):
    """Convolution, batch norm and ReLU, named as in the published Inception weights.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Size of the kernel, one number or (height, width).
        stride: Step of the kernel.
        padding: Zeros around the input, one number or (rows, columns).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, outputs, H', W')."""
        return functional.relu(self.bn(self.conv(features)), inplace=True)


class FixedPool(nn.Module):
    """Average over a fixed number of cells, whatever the size of the input.

    The same as ``AdaptiveAvgPool2d``, for which ONNX has no operator: an average pool where
    the cells are of one size, otherwise two products with constant matrices.

    Args:
        size: Number of cells in each direction.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, C, size, size)."""
        height, width = int(features.shape[2]), int(features.shape[3])
        if (height, width) == (self.size, self.size):
            return features
        if height % self.size == 0 and width % self.size == 0:
            return functional.avg_pool2d(features, (height // self.size, width // self.size))
        rows, columns = _shares(height, self.size, features), _shares(width, self.size, features)
        return rows @ features @ columns.T


def _shares(length: int, cells: int, like: Tensor) -> Tensor:
    """Return the matrix (cells, length) that averages; cells overlap where they must."""
    matrix = torch.zeros(cells, length)
    for cell in range(cells):
        first, end = cell * length // cells, -(-(cell + 1) * length // cells)
        matrix[cell, first:end] = 1 / (end - first)
    return matrix.to(like)


def inception_range(images: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) as Google's networks were trained: in -1..1.

    Their published weights want it so; our pictures come normalised by ImageNet's mean and
    deviation, as for all other networks.
    """
    std = torch.tensor([0.229, 0.224, 0.225], dtype=images.dtype, device=images.device)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=images.dtype, device=images.device)
    return images * (std / 0.5)[:, None, None] + ((mean - 0.5) / 0.5)[:, None, None]


def start_as_he(network: nn.Module, *, last_std: float = 0.01) -> None:
    """Give the weights their random start for layers of ReLU (He et al. 2015, eq. 10).

    Args:
        network: Its convolutions, matrices and batch norms are set in place.
        last_std: Standard deviation of the matrices.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=last_std)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
