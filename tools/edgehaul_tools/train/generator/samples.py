"""Drawn pictures to look at: a row for each class, a column for each set of random values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edgehaul_tools.train.architectures.adversarial import Generator
from edgehaul_tools.train.durable import write_whole

COLUMNS = 10
_GAP_PX = 2


@torch.no_grad()
def drawn(generator: Generator, label: int, noise: torch.Tensor) -> NDArray[np.uint8]:
    """Return pictures (B, height, width, 3) uint8 of one class for noise (B, latent)."""
    labels = torch.full((len(noise),), label, dtype=torch.int64)
    pictures = generator(noise, labels).mul(255).round().clamp(0, 255)
    return np.ascontiguousarray(pictures.permute(0, 2, 3, 1).to(torch.uint8).numpy(), np.uint8)


def write_grid(generator: Generator, classes: int, path: Path, *, color: str) -> None:
    """Write a PNG of drawn pictures; the same random values in each call and row."""
    noise = torch.randn(COLUMNS, generator.latent, generator=torch.Generator().manual_seed(0))
    rows = [np.concatenate(_framed(drawn(generator, n, noise)), axis=1) for n in range(classes)]
    write_whole(path, png(np.concatenate(rows, axis=0), color=color))


def _framed(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    gap = ((0, 0), (_GAP_PX, _GAP_PX), (_GAP_PX, _GAP_PX), (0, 0))
    return np.pad(pictures, gap, constant_values=255)


def png(picture: NDArray[np.uint8], *, color: str) -> bytes:
    """Return a picture (height, width, 3), its colours in the order ``color``, as a PNG."""
    ordered = picture if color == "bgr" else np.ascontiguousarray(picture[:, :, ::-1])
    return cv2.imencode(".png", ordered)[1].tobytes()
