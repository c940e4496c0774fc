"""A recurrent classifier of windows of a trace.

LSTM and not GRU: of the recurrent layers only LSTM has an int8 kernel in ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SequenceShape:
    """The sizes that make one classifier different from another.

    Attributes:
        features: Number of values at each step.
        hidden: Size of the recurrent state.
        classes: Number of labels.
    """

    features: int
    hidden: int
    classes: int


class SequenceNetwork(nn.Module):
    """The classifier; its answer is read from the state after the last step.

    Args:
        shape: Its sizes.
    """

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(shape.features, shape.hidden, batch_first=True)
        self.scores = nn.Linear(shape.hidden, shape.classes)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, classes) for normalised windows (B, steps, features)."""
        states, _ = self.recurrent(windows)
        logits: Tensor = self.scores(states[:, -1])
        return logits


class DeployedSequence(nn.Module):
    """The classifier as the box runs it: probabilities out.

    Args:
        network: The trained network.
    """

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, window: Tensor) -> Tensor:
        """Return probabilities (B, classes) for normalised windows (B, steps, features)."""
        return torch.softmax(self.network(window), dim=-1)
