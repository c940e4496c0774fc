"""Recurrent networks of windows of a series: LSTM (Hochreiter 1997) and GRU (Cho et al. 2014).

Of the two only LSTM has an int8 kernel in ONNX Runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn


@dataclass(frozen=True)
class SequenceShape:
    """The sizes that make one network different from another.

    Attributes:
        features: Number of values at each step.
        hidden: Size of the recurrent state.
        classes: Number of labels, or of values that it says.
        layers: Number of recurrent layers, one above the other.
        dropout: Share of the values between layers that are left out while learning.
        cell: Kind of the layers.
    """

    features: int
    hidden: int
    classes: int
    layers: int = 1
    dropout: float = 0.0
    cell: Literal["lstm", "gru"] = "lstm"


class SequenceNetwork(nn.Module):
    """The network; its answer is read from the state after the last step.

    Args:
        shape: Its sizes.
    """

    def __init__(self, shape: SequenceShape) -> None:
        super().__init__()
        kind = nn.LSTM if shape.cell == "lstm" else nn.GRU
        self.recurrent = kind(
            shape.features,
            shape.hidden,
            num_layers=shape.layers,
            batch_first=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.scores = nn.Linear(shape.hidden, shape.classes)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, classes) for normalised windows (B, steps, features)."""
        states, _ = self.recurrent(windows)
        logits: Tensor = self.scores(self.dropout(states[:, -1]))
        return logits
