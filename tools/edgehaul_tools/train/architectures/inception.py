"""Inception v3 (Szegedy et al. 2015, "Rethinking the Inception Architecture")."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.train.architectures.blocks import ConvNorm, inception_range, start_as_he

LEAST_SIDE_PX = 75
_WIDE = ((1, 7), (0, 3))
_TALL = ((7, 1), (3, 0))
"""Kernel and padding of the two halves of a 7x7 convolution."""


def _pooled(features: Tensor) -> Tensor:
    return functional.avg_pool2d(features, 3, 1, padding=1)


class MixedA(nn.Module):
    """Figure 5 of the paper: 1x1, 5x5 and two 3x3 side by side."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64)
        self.branch5x5_1 = ConvNorm(inputs, 48)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(inputs, pooled)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 224 + pooled, H, W)."""
        five = self.branch5x5_2(self.branch5x5_1(features))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        pooled = self.branch_pool(_pooled(features))
        return torch.cat((self.branch1x1(features), five, three, pooled), dim=1)


class MixedB(nn.Module):
    """The step from the 35x35 to the 17x17 grid."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 480 + inputs, H', W')."""
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features)))
        pooled = functional.max_pool2d(features, 3, 2)
        return torch.cat((self.branch3x3(features), three, pooled), dim=1)


class MixedC(nn.Module):
    """Figure 6 of the paper: 7x7 convolutions as 1x7 after 7x1."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 192)
        self.branch7x7_1 = ConvNorm(inputs, width)
        self.branch7x7_2 = ConvNorm(width, width, _WIDE[0], padding=_WIDE[1])
        self.branch7x7_3 = ConvNorm(width, 192, _TALL[0], padding=_TALL[1])
        self.branch7x7dbl_1 = ConvNorm(inputs, width)
        self.branch7x7dbl_2 = ConvNorm(width, width, _TALL[0], padding=_TALL[1])
        self.branch7x7dbl_3 = ConvNorm(width, width, _WIDE[0], padding=_WIDE[1])
        self.branch7x7dbl_4 = ConvNorm(width, width, _TALL[0], padding=_TALL[1])
        self.branch7x7dbl_5 = ConvNorm(width, 192, _WIDE[0], padding=_WIDE[1])
        self.branch_pool = ConvNorm(inputs, 192)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 768, H, W)."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(features)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(features)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        pooled = self.branch_pool(_pooled(features))
        return torch.cat((self.branch1x1(features), seven, twice, pooled), dim=1)


class MixedD(nn.Module):
    """The step from the 17x17 to the 8x8 grid."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(inputs, 192)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvNorm(inputs, 192)
        self.branch7x7x3_2 = ConvNorm(192, 192, _WIDE[0], padding=_WIDE[1])
        self.branch7x7x3_3 = ConvNorm(192, 192, _TALL[0], padding=_TALL[1])
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 512 + inputs, H', W')."""
        three = self.branch3x3_2(self.branch3x3_1(features))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(features)))
        pooled = functional.max_pool2d(features, 3, 2)
        return torch.cat((three, self.branch7x7x3_4(seven), pooled), dim=1)


class MixedE(nn.Module):
    """Figure 7 of the paper: branches that end in 1x3 beside 3x1."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 320)
        self.branch3x3_1 = ConvNorm(inputs, 384)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(inputs, 192)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, 2048, H, W)."""
        three = self.branch3x3_1(features)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(features))
        parts = (
            self.branch1x1(features),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            self.branch_pool(_pooled(features)),
        )
        return torch.cat(parts, dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier half-way; it wants pictures of about 299 pixels."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv0 = ConvNorm(inputs, 128)
        self.conv1 = ConvNorm(128, 768, 5)
        self.fc = nn.Linear(768, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        cells = self.conv1(self.conv0(functional.avg_pool2d(features, 5, 3)))
        logits: Tensor = self.fc(cells.mean((2, 3)))
        return logits


class InceptionV3(nn.Module):
    """The network.

    Args:
        classes: Number of classes.
        auxiliary: Whether it has the classifier half-way; :meth:`auxiliary_logits` answers
            with it.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(
        self, classes: int = 1000, *, auxiliary: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b = MixedA(192, 32)
        self.Mixed_5c = MixedA(256, 64)
        self.Mixed_5d = MixedA(288, 64)
        self.Mixed_6a = MixedB(288)
        self.Mixed_6b = MixedC(768, 128)
        self.Mixed_6c = MixedC(768, 160)
        self.Mixed_6d = MixedC(768, 160)
        self.Mixed_6e = MixedC(768, 192)
        self.AuxLogits = AuxiliaryHead(768, classes) if auxiliary else None
        self.Mixed_7a = MixedD(768)
        self.Mixed_7b = MixedE(1280)
        self.Mixed_7c = MixedE(2048)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, classes)
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 75 pixels a side."""
        return self._last(self._first(images))

    def auxiliary_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the network and of the head half-way, each (B, classes).

        Raises:
            TypeError: The network was built without this head.
        """
        if self.AuxLogits is None:
            raise TypeError("this network has no auxiliary head")
        features = self._first(images)
        return self._last(features), self.AuxLogits(features)

    def _first(self, images: Tensor) -> Tensor:
        features = self.Conv2d_1a_3x3(inception_range(images))
        features = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(features))
        features = self.Conv2d_3b_1x1(functional.max_pool2d(features, 3, 2))
        features = functional.max_pool2d(self.Conv2d_4a_3x3(features), 3, 2)
        features = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(features))))
        result: Tensor = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(features))))
        return result

    def _last(self, features: Tensor) -> Tensor:
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(features)))
        logits: Tensor = self.fc(self.dropout(features.mean((2, 3))))
        return logits
