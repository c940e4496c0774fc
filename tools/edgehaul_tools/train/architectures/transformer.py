"""A transformer encoder of windows of a series (Vaswani et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgehaul_tools.train.architectures.attention import TransformerBlock

_HEADS = (4, 2, 1)


class SequenceTransformer(nn.Module):
    """Every step asks all others; the answer is read from their mean.

    Positions are learnt. ReLU, as in the paper, which int8 does not mind.

    Args:
        features: Number of values at each step.
        window: Number of steps.
        hidden: Length of a token.
        layers: Number of blocks.
        dropout: Share of the values that are left out while learning.
        outputs: Number of labels, or of values that it says.
    """

    def __init__(
        self, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
    ) -> None:
        super().__init__()
        heads = next(count for count in _HEADS if hidden % count == 0)
        self.tokens = nn.Linear(features, hidden)
        self.positions = nn.Parameter(torch.zeros(1, window, hidden))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.blocks = nn.Sequential(
            *(TransformerBlock(hidden, heads, nn.ReLU(), dropout) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(hidden)
        self.scores = nn.Linear(hidden, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, outputs) for normalised windows (B, window, features)."""
        tokens = self.blocks(self.tokens(windows) + self.positions)
        logits: Tensor = self.scores(self.norm(tokens).mean(1))
        return logits
