"""MobileNetV2 (Sandler et al. 2018): inverted residuals of depthwise convolutions, ReLU6."""

from __future__ import annotations

from torch import Tensor, nn

from edgehaul_tools.train.architectures.blocks import start_as_he

LEAST_SIDE_PX = 32
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Table 2 of the paper: expansion, width, number of blocks, stride of the first one."""
_FIRST, _LAST = 32, 1280


class ConvClip(nn.Sequential):
    """Convolution, batch norm and ReLU6.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        kernel: Size of the kernel.
        stride: Step of the kernel.
        groups: As many as channels make it depthwise.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to the input where the shapes allow.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Step of the depthwise convolution.
        expansion: How much wider it is in between.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = [] if expansion == 1 else [ConvClip(inputs, wide)]
        self.conv = nn.Sequential(
            *layers,
            ConvClip(wide, wide, 3, stride=stride, groups=wide),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.added = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, outputs, H', W')."""
        result: Tensor = self.conv(features)
        return features + result if self.added else result


class MobileNetV2(nn.Module):
    """The network, of width 1.

    Args:
        classes: Number of classes.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, classes: int = 1000, *, dropout: float = 0.2) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvClip(3, _FIRST, 3, stride=2)]
        inputs = _FIRST
        for expansion, outputs, blocks, stride in _STAGES:
            for block in range(blocks):
                step = 1 if block else stride
                layers.append(InvertedResidual(inputs, outputs, step, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers, ConvClip(inputs, _LAST))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(_LAST, classes))
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 32 pixels a side."""
        features: Tensor = self.features(images)
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits
