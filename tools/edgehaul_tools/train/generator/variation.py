"""Variation that gradients pass through, of real and drawn pictures alike.

With few pictures a discriminator learns them by heart. It cannot where it sees them, and the
drawn ones, varied at every step (DiffAugment, Zhao et al. 2020, arXiv:2006.10738).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT = 1 / 8
"""Largest shift, as a share of the side."""
_HOLE = 1 / 2
"""Side of the part that is covered, as a share of the side."""
_BRIGHTNESS = 0.2
_CONTRAST = 0.2


def varied(images: Tensor, random: torch.Generator, *, flip: float = 0.5) -> Tensor:
    """Return pictures (B, 3, H, W) in 0..1 varied: mirrored, lit, shifted and covered.

    Args:
        images: Real or drawn ones.
        random: Where the chance comes from.
        flip: Share that is mirrored left to right.
    """
    count, _, height, width = images.shape
    chances = torch.rand(count, 7, generator=random)
    mirrored = (chances[:, 0] < flip)[:, None, None, None]
    images = torch.where(mirrored, images.flip(3), images)
    images = _lit(images, chances[:, 1], chances[:, 2])
    images = _shifted(images, chances[:, 3], chances[:, 4])
    rows = _covered(chances[:, 5], height)[:, None, :, None]
    columns = _covered(chances[:, 6], width)[:, None, None, :]
    return images * (~(rows & columns))


def _lit(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    bias = ((brightness - 0.5) * 2 * _BRIGHTNESS)[:, None, None, None]
    gain = (1 + (contrast - 0.5) * 2 * _CONTRAST)[:, None, None, None]
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * gain + mean + bias


def _shifted(images: Tensor, across: Tensor, along: Tensor) -> Tensor:
    """Shift each picture by whole pixels; what was not in it is black."""
    count, _, height, width = images.shape
    most_x, most_y = int(width * _SHIFT), int(height * _SHIFT)
    padded = functional.pad(images, (most_x, most_x, most_y, most_y))
    x = (across * (2 * most_x + 1)).long()[:, None] + torch.arange(width)
    y = (along * (2 * most_y + 1)).long()[:, None] + torch.arange(height)
    number = torch.arange(count)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _covered(place: Tensor, length: int) -> Tensor:
    """Return which rows or columns (B, length) a hole takes."""
    hole = max(1, int(length * _HOLE))
    first = (place * (length + hole)).long()[:, None] - hole
    at = torch.arange(length)[None]
    return (at >= first) & (at < first + hole)
