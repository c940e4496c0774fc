"""ResNet (He et al. 2015) in 18, 34 and 50 layers, and with attention (CBAM, Woo et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.train.architectures.blocks import start_as_he

LEAST_SIDE_PX = 16
Depth = Literal[18, 34, 50]
_WIDTHS = (64, 128, 256, 512)
_BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
}
_BOTTLENECK_FROM = 50


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """Return what brings the input to the shape of the result; nothing where it has it."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input.

    Args:
        inputs: Number of input channels.
        width: Number of output channels.
        stride: Step of the first convolution.
        attention: Makes what weighs the result before it is added; none weighs nothing.
    """

    expansion = 1

    def __init__(
        self,
        inputs: int,
        width: int,
        stride: int,
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)
        self.attention = attention(width) if attention else None

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, width, H', W')."""
        short = features if self.downsample is None else self.downsample(features)
        result = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        result = self.bn2(self.conv2(result))
        if self.attention is not None:
            result = self.attention(result)
        return functional.relu(result + short, inplace=True)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 ones that narrow and widen.

    The step is in the 3x3 convolution and not, as in the paper, in the first 1x1 one: that is
    what the published weights have learnt with.

    Args:
        inputs: Number of input channels.
        width: Number of channels of the 3x3 convolution; the result has four times as many.
        stride: Step of the 3x3 convolution.
    """

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (B, 4 * width, H', W')."""
        short = features if self.downsample is None else self.downsample(features)
        result = functional.relu(self.bn1(self.conv1(features)), inplace=True)
        result = functional.relu(self.bn2(self.conv2(result)), inplace=True)
        return functional.relu(self.bn3(self.conv3(result)) + short, inplace=True)


class ResNet(nn.Module):
    """The network.

    Args:
        depth: Number of layers with weights.
        classes: Number of classes.
        attention: Makes what weighs a block's result from its width; not for 50 layers.
    """

    def __init__(
        self,
        depth: Depth,
        classes: int = 1000,
        *,
        attention: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs, stages = 64, []
        for stage, (width, blocks) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True)):
            layers: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                layers.append(_block(depth, inputs, width, stride, attention))
                inputs = width * (Bottleneck if depth >= _BOTTLENECK_FROM else BasicBlock).expansion
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(inputs, classes)
        start_as_he(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, H, W) of at least 16 pixels a side."""
        features = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        features = self.layer2(self.layer1(self.maxpool(features)))
        features = self.layer4(self.layer3(features))
        logits: Tensor = self.fc(features.mean((2, 3)))
        return logits


def _block(
    depth: int,
    inputs: int,
    width: int,
    stride: int,
    attention: Callable[[int], nn.Module] | None,
) -> nn.Module:
    if depth >= _BOTTLENECK_FROM:
        return Bottleneck(inputs, width, stride)
    return BasicBlock(inputs, width, stride, attention)
