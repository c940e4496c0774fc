"""GoogLeNet (Szegedy et al. 2014, "Inception v1"), with batch norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.train.architectures.blocks import (
    ConvNorm,
    FixedPool,
    inception_range,
    start_as_he,
)

LEAST_SIDE_PX = 16


class Inception(nn.Module):
    """Four branches side by side: 1x1, two of 3x3, and pooling.

    The third branch has a 3x3 kernel where the paper has 5x5, as the published weights do.

    Args:
        inputs: Number of input channels.
        widths: Table 1 of the paper: 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pooled.
    """

    def __init__(self, inputs: int, *widths: int) -> None:
        super().__init__()
        single, narrow3, wide3, narrow5, wide5, pooled = widths
        self.branch1 = ConvNorm(inputs, single)
        self.branch2 = nn.Sequential(
            ConvNorm(inputs, narrow3), ConvNorm(narrow3, wide3, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            ConvNorm(inputs, narrow5), ConvNorm(narrow5, wide5, 3, padding=1)
        )
        pool = nn.MaxPool2d(3, 1, padding=1, ceil_mode=True)
        self.branch4 = nn.Sequential(pool, ConvNorm(inputs, pooled))

    def forward(self, features: Tensor) -> Tensor:
        """Return the branches' features, (B, sum of their widths, H, W)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(features) for branch in branches], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier half-way, through which early layers learn faster.

    Args:
        inputs: Number of input channels.
        classes: Number of classes.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.pool = FixedPool(4)
        self.conv = ConvNorm(inputs, 128)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, classes)
        self.dropout = nn.Dropout(0.7)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        cells = self.conv(self.pool(features)).flatten(1)
        hidden = self.dropout(functional.relu(self.fc1(cells), inplace=True))
        logits: Tensor = self.fc2(hidden)
        return logits


class GoogLeNet(nn.Module):
    """The network.

    Args:
        classes: Number of classes.
        auxiliary: Whether it has the two classifiers half-way; :meth:`auxiliary_logits`
            answers with them.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(
        self, classes: int = 1000, *, auxiliary: bool = False, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.conv1 = ConvNorm(3, 64, 7, stride=2, padding=3)
        self.conv2 = ConvNorm(64, 64)
        self.conv3 = ConvNorm(64, 192, 3, padding=1)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1 = AuxiliaryHead(512, classes) if auxiliary else None
        self.aux2 = AuxiliaryHead(528, classes) if auxiliary else None
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, classes)
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 16 pixels a side."""
        return self._last(self._middle(self._first(images))[1])

    def auxiliary_logits(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of the network and of both heads half-way, each (B, classes).

        Raises:
            TypeError: The network was built without these heads.
        """
        if self.aux1 is None or self.aux2 is None:
            raise TypeError("this network has no auxiliary heads")
        first = self._first(images)
        fourth, last = self._middle(first)
        return self._last(last), self.aux1(first), self.aux2(fourth)

    def _first(self, images: Tensor) -> Tensor:
        features = _halved(self.conv1(inception_range(images)))
        features = _halved(self.conv3(self.conv2(features)))
        features = _halved(self.inception3b(self.inception3a(features)))
        result: Tensor = self.inception4a(features)
        return result

    def _middle(self, features: Tensor) -> tuple[Tensor, Tensor]:
        fourth = self.inception4d(self.inception4c(self.inception4b(features)))
        return fourth, self.inception4e(fourth)

    def _last(self, features: Tensor) -> Tensor:
        features = functional.max_pool2d(features, 2, 2, ceil_mode=True)
        features = self.inception5b(self.inception5a(features))
        logits: Tensor = self.fc(self.dropout(features.mean((2, 3))))
        return logits


def _halved(features: Tensor) -> Tensor:
    return functional.max_pool2d(features, 3, 2, ceil_mode=True)
