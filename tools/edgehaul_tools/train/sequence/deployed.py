"""Models of sequences as the box runs them: normalised windows in, answers in real units out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from edgehaul.bundle.spec import ModelSpec, SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import ModelError
from edgehaul_tools.train.architectures.table import build_sequence
from edgehaul_tools.train.run_directory import load_weights

_UNBOUNDED = 1e6
"""In deviations of a feature."""


class RealUnits(nn.Module):
    """A network that answers in real units, and learns in units of the answers' deviation.

    Args:
        network: Answers (B, K) for windows, about 0 +- 1.
        count: K, the number of answers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("std", torch.ones(count))

    def forward(self, window: Tensor) -> Tensor:
        """Return answers (B, K) in real units for normalised windows (B, steps, features)."""
        answers: Tensor = self.network(window).float() * self.std + self.mean
        return answers


class Bounded(nn.Module):
    """An autoencoder that draws nothing beyond the range of what is normal.

    Left free it carries on its lines: a speed that nobody drove is drawn as well as any other,
    and goes unnoticed. While it learns it is not bounded, for a bound has no gradient.

    Args:
        network: Windows (B, steps, features) for windows.
        count: Number of features.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("low", torch.full((count,), -_UNBOUNDED))
        self.register_buffer("high", torch.full((count,), _UNBOUNDED))

    def forward(self, window: Tensor) -> Tensor:
        """Return windows (B, steps, features) as the network draws them, normalised."""
        drawn: Tensor = self.network(window)
        if self.training:
            return drawn
        return torch.minimum(torch.maximum(drawn, self.low), self.high)


class DeployedSequence(nn.Module):
    """A classifier of windows: probabilities out.

    Args:
        network: The trained network.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> Tensor:
        """Return probabilities (B, classes) for normalised windows (B, steps, features)."""
        return torch.softmax(self.network(window), dim=-1)


class DeployedRegression(nn.Module):
    """A regression on windows: values in real units out.

    Args:
        network: The trained network.
    """

    def __init__(self, network: RealUnits) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> Tensor:
        """Return values (B, K) for normalised windows (B, steps, features)."""
        values: Tensor = self.network(window)
        return values


class DeployedSequenceAnomaly(nn.Module):
    """An autoencoder of windows: how badly it reproduces what it is shown.

    Args:
        network: The trained autoencoder.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Return the anomaly's score and where it is.

        Args:
            window: (B, steps, features), normalised.

        Returns:
            The mean squared error (B, 1), and that of each step (B, steps), both in units of
            the features' variance.
        """
        error_map = ((self.network(window).float() - window) ** 2).mean(dim=2)
        return error_map.mean(dim=1, keepdim=True), error_map


def sequence_network(recipe: SequenceRecipe, spec: ModelSpec) -> nn.Module:
    """Return the network that a recipe asks for, with random weights.

    Args:
        recipe: Names the architecture and its sizes.
        spec: Says how many features it is given and how many answers are wanted.
    """
    assert isinstance(spec.input, SequenceInput)  # noqa: S101 - ModelSpec refuses others
    features = len(spec.input.features)
    network = build_sequence(
        recipe.network,
        features=features,
        window=spec.input.window,
        hidden=recipe.hidden,
        layers=recipe.layers,
        dropout=recipe.dropout,
        outputs=features if recipe.goal == "anomaly" else len(spec.output.labels),
    )
    if recipe.goal == "next_position":
        return RealUnits(network, len(spec.output.labels))
    if recipe.goal == "anomaly":
        return Bounded(network, features)
    return network


def deployed_sequence(
    folder: Path, spec: ModelSpec, recipe: SequenceRecipe | None
) -> DeployedSequence | DeployedRegression | DeployedSequenceAnomaly:
    """Return the model of a run directory as the box runs it, in evaluation mode.

    Its outputs are ``scores`` (B, classes), or ``values`` (B, K), or ``score`` (B, 1) and
    ``error_map`` (B, steps).

    Raises:
        ModelError: The run is not that of a sequence model, or its weights cannot be loaded.
    """
    if recipe is None or not isinstance(spec.input, SequenceInput):
        raise ModelError("run.json is at odds with itself", where=folder, remedy="train again")
    network = sequence_network(recipe, spec)
    load_weights(folder, network)
    return deployed_form(network, recipe).eval()


def deployed_form(
    network: nn.Module, recipe: SequenceRecipe
) -> DeployedSequence | DeployedRegression | DeployedSequenceAnomaly:
    """Return a trained network of :func:`sequence_network` as the box runs it."""
    if recipe.goal == "anomaly":
        return DeployedSequenceAnomaly(network)
    if isinstance(network, RealUnits):
        return DeployedRegression(network)
    return DeployedSequence(network)
