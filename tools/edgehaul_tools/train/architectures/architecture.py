"""What a row of the table of networks says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Purpose = Literal["classify-picture", "detect", "anomaly-picture", "generate", "judge", "sequence"]


@dataclass(frozen=True)
class Quantization:
    """How a network bears int8.

    Attributes:
        word: How well.
        reason: Why.
    """

    word: Literal["good", "fair", "poor"]
    reason: str


@dataclass(frozen=True)
class Architecture:
    """One network.

    Attributes:
        name: Its name in recipes.
        task: What it is for.
        build: Makes it with random weights; takes the keys of ``defaults`` by name.
        defaults: Sizes at which it is listed and counted.
        input_shape: Of one input at these sizes, without the batch: (3, H, W) of a picture,
            (window, features) of a series, (latent,) of random values.
        paper: Where it is from.
        int8: How it bears int8.
        least_side_px: The smallest side of a picture that it takes; 0 for others.
        weights_note: Which weights are published, and under what terms.
    """

    name: str
    task: Purpose
    build: Callable[..., nn.Module]
    defaults: Mapping[str, Any]
    input_shape: tuple[int, ...]
    paper: str
    int8: Quantization
    least_side_px: int = 0
    weights_note: str = "none published"

    def listed(self) -> nn.Module:
        """Return the network at the sizes of ``defaults``, in evaluation mode."""
        return self.build(**self.defaults).eval()

    def example(self, batch: int = 1) -> tuple[Tensor, ...]:
        """Return random inputs at the sizes of ``defaults``; of a GAN labels as well."""
        random = torch.Generator().manual_seed(0)
        first = torch.rand((batch, *self.input_shape), generator=random)
        if self.task not in {"generate", "judge"}:
            return (first,)
        return first, torch.arange(batch) % int(self.defaults["classes"])
