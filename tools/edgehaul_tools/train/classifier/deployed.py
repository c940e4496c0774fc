"""The classifier of pictures as the box runs it: bytes in, probabilities out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import ClassifierRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures.table import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    build_classifier,
)
from edgehaul_tools.train.run_directory import load_weights

_LARGEST_BYTE = 255.0


class Normalisation(nn.Module):
    """From bytes to what classifiers take: RGB around zero, by ImageNet's mean and deviation.

    Args:
        color: Order of the colours that are given.
        scale: What 1 is among the given values: 255 for bytes.
    """

    gain: Tensor
    bias: Tensor

    def __init__(self, color: str, scale: float = _LARGEST_BYTE) -> None:
        super().__init__()
        self._reversed = color == "bgr"
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        # Not in the state dict: they follow from the recipe.
        self.register_buffer("gain", 1 / (std * scale), persistent=False)
        self.register_buffer("bias", -mean / std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalised RGB (B, 3, H, W) for pictures (B, 3, H, W) float32."""
        if self._reversed:
            images = images.flip(1)
        return images * self.gain + self.bias


class DeployedClassifier(nn.Module):
    """A classifier of pictures: bytes in, probabilities out.

    Args:
        network: The trained network, which returns logits.
        color: Order of the colours that it was trained on.
    """

    def __init__(self, network: nn.Module, color: str) -> None:
        super().__init__()
        self.normalisation = Normalisation(color)
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities (B, classes) for pictures (B, H, W, 3) uint8."""
        pixels = self.normalisation(image.permute(0, 3, 1, 2).float())
        return torch.softmax(self.network(pixels), dim=-1)


def deployed_classifier(
    folder: Path, spec: ModelSpec, recipe: ClassifierRecipe | None
) -> DeployedClassifier:
    """Return the classifier of a run directory as the box runs it, in evaluation mode.

    Raises:
        ModelError: The run is not that of a classifier, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, ImageInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    network = build_classifier(
        recipe.network, len(spec.output.labels), width=spec.input.width, height=spec.input.height
    )
    load_weights(folder, network)
    return DeployedClassifier(network, spec.input.color).eval()
