"""A conditional GAN for small pictures: a generator, and a discriminator that it must fool.

After DCGAN (Radford et al. 2016), with what has made it steadier since: the class sets scale
and shift of each batch norm (Dumoulin et al. 2017; de Vries et al. 2017), the discriminator's
weights have a spectral norm of one (Miyato et al. 2018), and it sees the class by projection
(Miyato and Koyama 2018). Resizing and convolution stand in for transposed convolution.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

STRIDE_PX = 16
"""Sides of the canvas are multiples of it."""
_LEAK = 0.1
_WIDTHS = (4, 2, 1)
"""Widths of the layers from the coarsest grid to the finest, in units of ``channels``."""


class ClassNorm(nn.Module):
    """Batch norm whose scale and shift belong to the class.

    Args:
        channels: Number of channels.
        classes: Number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return features of the same shape, for labels (B,)."""
        scale = self.scale(labels)[:, :, None, None]
        shift = self.shift(labels)[:, :, None, None]
        result: Tensor = self.norm(features) * scale + shift
        return result


class GrowBlock(nn.Module):
    """Doubles the size: resize, convolution, norm by class, ReLU.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        classes: Number of classes.
    """

    def __init__(self, inputs: int, outputs: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = ClassNorm(outputs, classes)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return features (B, outputs, 2H, 2W), for labels (B,)."""
        large = functional.interpolate(features, scale_factor=2.0, mode="nearest")
        return functional.relu(self.norm(self.conv(large), labels), inplace=True)


class Generator(nn.Module):
    """Draws a picture of a class from random values.

    Args:
        classes: Number of classes.
        latent: Number of random values.
        channels: Width of the narrowest layer.
        width: Width of the pictures in pixels, a multiple of 16.
        height: Height of the pictures in pixels, a multiple of 16.
    """

    def __init__(
        self, classes: int, latent: int = 64, channels: int = 32, *, width: int, height: int
    ) -> None:
        super().__init__()
        _require_sides(width, height)
        self.latent, self.classes = latent, classes
        widths = [channels * share for share in _WIDTHS]
        # Three doublings: the coarsest grid is an eighth of the picture.
        self.cells = (widths[0], height // 8, width // 8)
        self.start = nn.Linear(latent, widths[0] * self.cells[1] * self.cells[2])
        self.blocks = nn.ModuleList(
            GrowBlock(a, b, classes) for a, b in zip(widths, [*widths[1:], channels], strict=True)
        )
        self.drawn = nn.Conv2d(channels, 3, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.orthogonal_(layer.weight)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Return pictures (B, 3, height, width) in 0..1.

        Args:
            noise: (B, latent) of a standard normal distribution.
            labels: (B,) int64.
        """
        features = self.start(noise).reshape(-1, *self.cells)
        for block in self.blocks:
            features = block(features, labels)
        drawn: Tensor = self.drawn(features)
        return drawn.tanh().add(1).mul(0.5)


class Discriminator(nn.Module):
    """Tells real pictures of a class from drawn ones.

    Args:
        classes: Number of classes.
        channels: Width of the first layer.
        width: Width of the pictures in pixels, a multiple of 16.
        height: Height of the pictures in pixels, a multiple of 16.
    """

    def __init__(self, classes: int, channels: int = 32, *, width: int, height: int) -> None:
        super().__init__()
        _require_sides(width, height)
        widths = [3, *(channels * share for share in reversed(_WIDTHS))]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [
                spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1)),
                nn.LeakyReLU(_LEAK, inplace=True),
                spectral_norm(nn.Conv2d(outputs, outputs, 4, 2, padding=1)),
                nn.LeakyReLU(_LEAK, inplace=True),
            ]
        self.features = nn.Sequential(*layers)
        self.real = spectral_norm(nn.Linear(widths[-1], 1))
        self.of_class = spectral_norm(nn.Embedding(classes, widths[-1]))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return scores (B,): above zero for what looks real.

        Args:
            images: (B, 3, height, width) in 0..1.
            labels: (B,) int64.
        """
        seen = self.features(images * 2 - 1).sum((2, 3))
        scores: Tensor = self.real(seen)[:, 0] + (self.of_class(labels) * seen).sum(1)
        return scores


def _require_sides(width: int, height: int) -> None:
    if width % STRIDE_PX or height % STRIDE_PX or min(width, height) < STRIDE_PX:
        raise ValueError(f"width and height must be multiples of {STRIDE_PX}")
