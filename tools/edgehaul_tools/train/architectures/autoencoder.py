"""Autoencoders: what they have learnt they can rebuild from a few values, and nothing else.

Pictures and series alike go through convolutions of step 2 down to ``latent`` values, and come
back through nearest-neighbour resizing and convolutions: transposed ones leave a chequerboard
(Odena et al. 2016), and int8 runs them slowly.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

_STEPS = 4
STRIDE_PX = 2**_STEPS
"""Sides of the canvas are multiples of it."""
_SHORTEST = 4
"""Series are not shortened below as many steps."""


class _Down(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        conv = nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Up(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        resize = nn.Upsample(scale_factor=2.0, mode="nearest")
        super().__init__(resize, conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class ImageAutoencoder(nn.Module):
    """Squeezes a picture into a few values and draws it again.

    Args:
        width: Width of the canvas in pixels, a multiple of 16.
        height: Height of the canvas in pixels, a multiple of 16.
        channels: Width of the first layer; each further one is twice as wide.
        latent: Number of values in between.
    """

    def __init__(self, *, width: int, height: int, channels: int = 16, latent: int = 64) -> None:
        super().__init__()
        if width % STRIDE_PX or height % STRIDE_PX or min(width, height) < STRIDE_PX:
            raise ValueError(f"width and height must be multiples of {STRIDE_PX}")
        widths = [channels * 2**step for step in range(_STEPS)]
        self.cells = (widths[-1], height // STRIDE_PX, width // STRIDE_PX)
        count = self.cells[0] * self.cells[1] * self.cells[2]
        self.encoder = nn.Sequential(
            *(_Down(a, b) for a, b in zip([3, *widths], widths, strict=False))
        )
        self.squeeze = nn.Linear(count, latent)
        self.expand = nn.Linear(latent, count)
        back = widths[::-1]
        self.decoder = nn.Sequential(
            *(_Up(a, b) for a, b in zip(back, [*back[1:], channels], strict=True)),
            nn.Conv2d(channels, 3, 3, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return pictures rebuilt, (B, 3, height, width) in 0..1, as the given ones are."""
        values = self.squeeze(self.encoder(images).flatten(1))
        cells = functional.relu(self.expand(values), inplace=True).reshape(-1, *self.cells)
        drawn: Tensor = self.decoder(cells)
        return drawn.sigmoid()


class SequenceAutoencoder(nn.Module):
    """Squeezes a window of a series into a few values and draws it again.

    Args:
        features: Number of values at each step.
        window: Number of steps.
        hidden: Width of the layers.
        layers: Number of convolutions of step 2 at most; a window is not shortened below 4.
        dropout: Share of the squeezed values that are left out while learning.
    """

    def __init__(
        self, features: int, window: int, hidden: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        lengths = [window]
        while len(lengths) <= layers and lengths[-1] >= 2 * _SHORTEST:
            lengths.append(-(-lengths[-1] // 2))
        self.lengths = tuple(lengths)
        steps = len(lengths) - 1
        widths = [features] + [hidden] * steps
        self.down = nn.ModuleList(
            nn.Conv1d(a, b, 3, 2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.cells = (widths[-1], lengths[-1])
        count = self.cells[0] * self.cells[1]
        # A quarter of what goes in: it must not be able to copy.
        latent = max(2, min(hidden, features * window // 4))
        self.squeeze = nn.Linear(count, latent)
        self.dropout = nn.Dropout(dropout)
        self.expand = nn.Linear(latent, count)
        self.up = nn.ModuleList(nn.Conv1d(width, hidden, 3, padding=1) for width in widths[:0:-1])
        self.drawn = nn.Conv1d(hidden if steps else features, features, 3, padding=1)

    def forward(self, windows: Tensor) -> Tensor:
        """Return windows rebuilt, (B, window, features), normalised as the given ones are."""
        series = windows.transpose(1, 2)
        for layer in self.down:
            series = functional.relu(layer(series), inplace=True)
        values = self.dropout(functional.relu(self.squeeze(series.flatten(1)), inplace=True))
        series = functional.relu(self.expand(values), inplace=True).reshape(-1, *self.cells)
        for layer, length in zip(self.up, self.lengths[-2::-1], strict=True):
            series = functional.interpolate(series, size=length, mode="nearest")
            series = functional.relu(layer(series), inplace=True)
        result: Tensor = self.drawn(series)
        return result.transpose(1, 2)
