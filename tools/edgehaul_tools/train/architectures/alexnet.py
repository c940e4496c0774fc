"""AlexNet (Krizhevsky et al. 2012), in its form for one processor (Krizhevsky 2014)."""

from __future__ import annotations

from torch import Tensor, nn

from edgehaul_tools.train.architectures.blocks import FixedPool, start_as_he

LEAST_SIDE_PX = 63
_CELLS = 6


def _features() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2),
    )


class AlexNet(nn.Module):
    """Five convolutions and three matrices.

    The start is He's and not the paper's, which needed days of warming up.

    Args:
        classes: Number of classes.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, classes: int = 1000, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = _features()
        self.avgpool = FixedPool(_CELLS)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * _CELLS * _CELLS, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, classes),
        )
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 63 pixels a side."""
        cells: Tensor = self.avgpool(self.features(images))
        logits: Tensor = self.classifier(cells.flatten(1))
        return logits
