"""A small anchor-free object detector, built so that int8 costs it nothing.

Plain 3x3 convolutions, batch norm that folds away, ReLU and residual blocks; features at
strides 8 and 16 share one head. Each cell predicts the distances to the four sides of the
box around it (FCOS, Tian et al. 2019) and one score for each class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.config.recipe import DetectorRecipe

STRIDES = (8, 16)
_LOGIT_START = -4.6
"""Every cell's score starts at 0.01, as nearly all cells are background (Lin et al. 2017)."""
_DISTANCE_START = 2.5
"""Every cell's distances start at about two and a half cells."""
SIZES: dict[str, tuple[int, int, int, int]] = {
    "nano": (8, 24, 48, 96),
    "small": (16, 32, 64, 128),
    "medium": (24, 64, 128, 256),
}
"""Width of the network at 1/2, 1/4, 1/8 and 1/16 of the canvas."""
_BLOCKS = {"nano": 2, "small": 3, "medium": 3}
"""Each block lets a cell see 64 pixels farther: coarse cells must see whole large objects."""
_TWO_WAYS = frozenset({"small", "medium"})
BYTE_SCALE = 1 / 255
"""From bytes to the network's 0..1. There is no mean to subtract: the first batch norm learns
it, and so this factor folds into the first convolution, without a fault at its zero-padded border.
"""


@dataclass(frozen=True)
class DetectorShape:
    """The sizes that make one detector different from another.

    Attributes:
        channels: Width at 1/2, 1/4, 1/8 and 1/16 of the canvas.
        classes: Number of classes.
        blocks: Number of residual blocks at 1/16 of the canvas.
        two_ways: Whether fine features go back to the coarse ones, and scores and boxes are
            found by layers of their own (Liu et al. 2018, "Path Aggregation Network").
    """

    channels: tuple[int, int, int, int]
    classes: int
    blocks: int = 2
    two_ways: bool = False


def shape_of(recipe: DetectorRecipe, classes: int) -> DetectorShape:
    """Return the sizes of the detector that a recipe trains."""
    return shape_of_size(recipe.size, classes, recipe.channels)


def shape_of_size(
    size: str, classes: int, channels: tuple[int, int, int, int] | None = None
) -> DetectorShape:
    """Return the sizes of a detector by their name.

    Args:
        size: ``nano``, ``small`` or ``medium``.
        classes: Number of classes.
        channels: Width at 1/2, 1/4, 1/8 and 1/16 of the canvas; None is that of the size.
    """
    return DetectorShape(
        channels or SIZES[size], classes, blocks=_BLOCKS[size], two_ways=size in _TWO_WAYS
    )


class ConvBlock(nn.Sequential):
    """Convolution, batch norm and, where asked for, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input (He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvBlock(channels, channels)
        self.second = ConvBlock(channels, channels, relu=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape."""
        return functional.relu(features + self.second(self.first(features)), inplace=True)


class SharedConvBlock(nn.Module):
    """One convolution for the features of every stride, with a batch norm for each.

    Fine and coarse features are of other means and spreads. A norm that both go through learns
    from each alone, and then uses the mixture: boxes that fitted in the training did not fit
    afterwards (Lyu et al. 2022, "RTMDet"). Exported, each norm folds into a convolution.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in STRIDES)

    def forward(self, features: Tensor, level: int) -> Tensor:
        """Return features of the same shape, for the stride with number ``level``."""
        return functional.relu(self.norms[level](self.conv(features)), inplace=True)


class DetectorHead(nn.Module):
    """Scores and distances for each cell, with the same weights at every stride.

    Args:
        channels: Width of the features.
        classes: Number of classes.
        two_towers: Whether scores and distances have a layer before them each, not together.
    """

    def __init__(self, channels: int, classes: int, *, two_towers: bool) -> None:
        super().__init__()
        self.tower = SharedConvBlock(channels)
        self.distance_tower = SharedConvBlock(channels) if two_towers else None
        self.scores = nn.Conv2d(channels, classes, 3, padding=1)
        self.distances = nn.Conv2d(channels, 4, 3, padding=1)
        for layer, start in ((self.scores, _LOGIT_START), (self.distances, _DISTANCE_START)):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, start)

    def forward(self, features: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Return logits (B, H*W, classes) and distances in cells (B, H*W, 4), not negative."""
        tower = self.tower(features, level)
        beside = tower if self.distance_tower is None else self.distance_tower(features, level)
        logits = self.scores(tower).flatten(2).transpose(1, 2)
        distances = self.distances(beside).flatten(2).transpose(1, 2)
        return logits, functional.softplus(distances)


class BothWays(nn.Module):
    """Lets fine and coarse features settle after they met, and the fine ones go back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fine = ConvBlock(channels, channels)
        self.down = ConvBlock(channels, channels, stride=2)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return features of the same shapes."""
        fine = self.fine(fine)
        return fine, coarse + self.down(fine)


class DetectorNetwork(nn.Module):
    """The detector without any pre- or post-processing.

    Args:
        shape: Its sizes.
    """

    def __init__(self, shape: DetectorShape) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = shape.channels
        self.stem = nn.Sequential(ConvBlock(3, half, stride=2), ConvBlock(half, quarter, stride=2))
        self.fine = nn.Sequential(ConvBlock(quarter, eighth, stride=2), ResidualBlock(eighth))
        # Blocks here are cheap, and let a cell see the whole of a large object.
        self.coarse = nn.Sequential(
            ConvBlock(eighth, sixteenth, stride=2),
            *(ResidualBlock(sixteenth) for _ in range(shape.blocks)),
        )
        self.lateral = nn.Conv2d(sixteenth, eighth, 1)
        self.both_ways = BothWays(eighth) if shape.two_ways else None
        self.head = DetectorHead(eighth, shape.classes, two_towers=shape.two_ways)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what every cell sees, the cells of the fine grid first.

        Args:
            images: (B, 3, H, W) float in 0..1, H and W multiples of 16.

        Returns:
            Logits (B, N, classes) and distances left, top, right, bottom in pixels (B, N, 4).
        """
        fine = self.fine(self.stem(images))
        coarse = self.lateral(self.coarse(fine))
        fine = fine + functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        if self.both_ways is not None:
            fine, coarse = self.both_ways(fine, coarse)
        results = [self.head(fine, 0), self.head(coarse, 1)]
        logits = torch.cat([logits for logits, _ in results], dim=1)
        distances = torch.cat(
            [cells * stride for (_, cells), stride in zip(results, STRIDES, strict=True)], dim=1
        )
        return logits, distances


def cell_centers(width: int, height: int) -> Tensor:
    """Return the centres (N, 2) in pixels of all cells of a canvas, in the network's order."""
    grids = []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(height // stride), torch.arange(width // stride), indexing="ij"
        )
        grids.append((torch.stack((x, y), dim=-1).reshape(-1, 2) + 0.5) * stride)
    return torch.cat(grids)


def boxes_from_distances(centers: Tensor, distances: Tensor) -> Tensor:
    """Return boxes x1, y1, x2, y2 (..., N, 4) for centres (N, 2) and distances (..., N, 4)."""
    return torch.cat((centers - distances[..., :2], centers + distances[..., 2:]), dim=-1)


class DeployedDetector(nn.Module):
    """The detector as the box runs it: bytes in, boxes and scores out.

    Args:
        network: The trained network.
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.
    """

    centers: Tensor

    def __init__(self, network: DetectorNetwork, *, width: int, height: int) -> None:
        super().__init__()
        self.network = network
        self.input_scale = BYTE_SCALE
        self.register_buffer("centers", cell_centers(width, height))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (B, N, 4) x1, y1, x2, y2 in canvas pixels and scores (B, N, classes).

        Args:
            image: (B, H, W, 3) uint8, colours in the order of the training.
        """
        pixels = image.permute(0, 3, 1, 2).float()
        if self.input_scale != 1.0:
            pixels = pixels * self.input_scale
        logits, distances = self.network(pixels)
        return boxes_from_distances(self.centers, distances), torch.sigmoid(logits)
