"""Convolutional block attention (CBAM, Woo et al. 2018): what matters, and where."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_REDUCTION = 16
_LEAST_WIDTH = 4
_KERNEL = 7


class ChannelAttention(nn.Module):
    """Weighs channels by what a small network makes of their means and maxima.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = max(channels // _REDUCTION, _LEAST_WIDTH)
        # 1x1 convolutions: the same as matrices, and quantized with the rest.
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, narrow, 1), nn.ReLU(inplace=True), nn.Conv2d(narrow, channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        mean = self.weigh(features.mean((2, 3), keepdim=True))
        most = self.weigh(features.amax((2, 3), keepdim=True))
        return features * torch.sigmoid(mean + most)


class SpatialAttention(nn.Module):
    """Weighs places by what a 7x7 convolution makes of the means and maxima over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(2, 1, _KERNEL, padding=_KERNEL // 2, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        seen = torch.cat((features.mean(1, keepdim=True), features.amax(1, keepdim=True)), dim=1)
        return features * torch.sigmoid(self.bn(self.weigh(seen)))


class BlockAttention(nn.Sequential):
    """Channel attention, then spatial attention.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(ChannelAttention(channels), SpatialAttention())
