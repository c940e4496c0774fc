"""VGG (Simonyan and Zisserman 2014): nothing but 3x3 convolutions, in 11 and 16 layers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from edgehaul_tools.train.architectures.blocks import FixedPool, start_as_he

LEAST_SIDE_PX = 32
_CELLS = 7
_WIDTHS: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    16: ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
"""Configurations A and D of the paper: widths of the convolutions before each pooling."""


def _features(widths: tuple[tuple[int, ...], ...], *, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for stage in widths:
        for outputs in stage:
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
            inputs = outputs
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class Vgg(nn.Module):
    """The network.

    Args:
        depth: Number of layers with weights.
        classes: Number of classes.
        batch_norm: Whether each convolution is followed by one, with which it learns without
            the paper's step by step growth.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(
        self,
        depth: Literal[11, 16],
        classes: int = 1000,
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.features = _features(_WIDTHS[depth], batch_norm=batch_norm)
        self.avgpool = FixedPool(_CELLS)
        self.classifier = nn.Sequential(
            nn.Linear(512 * _CELLS * _CELLS, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, classes),
        )
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 32 pixels a side."""
        cells: Tensor = self.avgpool(self.features(images))
        logits: Tensor = self.classifier(cells.flatten(1))
        return logits
