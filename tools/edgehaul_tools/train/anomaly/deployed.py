"""The autoencoder of pictures as the box runs it: bytes in, a score and its map out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import AnomalyRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures.autoencoder import ImageAutoencoder
from edgehaul_tools.train.run_directory import load_weights

_CELL_PX = 4
"""Errors are averaged over cells of so many pixels: single ones are noise and sharp edges."""
_WORST_SHARE = 0.05
"""The score is the mean of the worst cells: a defect is small beside the picture."""
_BYTE_SCALE = 1 / 255


class DeployedImageAnomaly(nn.Module):
    """How badly an autoencoder draws again what it is shown, and where.

    Args:
        network: Pictures (B, 3, H, W) in 0..1 for pictures.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the anomaly's score and where it is.

        Args:
            image: (B, H, W, 3) uint8, colours in the order of the training.

        Returns:
            The score (B, 1), from 0: root of the mean squared error of the worst twentieth of
            the cells, as a share of the range of a pixel; the mean squared error of each cell
            of 4x4 pixels (B, H/4, W/4).
        """
        pixels = image.permute(0, 3, 1, 2).float() * _BYTE_SCALE
        errors = (self.network(pixels).float() - pixels).square().mean(1, keepdim=True)
        error_map = functional.avg_pool2d(errors, _CELL_PX)[:, 0]
        cells = error_map.flatten(1)
        worst, _ = torch.topk(cells, max(1, round(_WORST_SHARE * int(cells.shape[1]))))
        return worst.mean(1, keepdim=True).sqrt(), error_map


def anomaly_network(recipe: AnomalyRecipe) -> ImageAutoencoder:
    """Return the network that a recipe asks for, with random weights."""
    return ImageAutoencoder(
        width=recipe.width, height=recipe.height, channels=recipe.channels, latent=recipe.latent
    )


def deployed_anomaly(
    folder: Path, spec: ModelSpec, recipe: AnomalyRecipe | None
) -> DeployedImageAnomaly:
    """Return the model of a run directory as the box runs it, in evaluation mode.

    Its outputs are ``score`` (B, 1) and ``error_map`` (B, H/4, W/4).

    Raises:
        ModelError: The run is not that of an anomaly model, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, ImageInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    network = anomaly_network(recipe)
    load_weights(folder, network)
    return DeployedImageAnomaly(network).eval()
