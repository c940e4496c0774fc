"""Blocks of attention (Vaswani et al. 2017), and a small vision transformer.

The transformer of pictures is ViT (Dosovitskiy et al. 2021) in the tiny size of DeiT (Touvron
et al. 2021). The norm stands before each half of a block, which learns without a long warm-up.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.errors import ModelError

_PATCHES_PX = (16, 8, 4, 2)
_FEWEST_PATCHES = 49
LEAST_SIDE_PX = 8
_MLP_RATIO = 4


class SelfAttention(nn.Module):
    """Every token asks all others.

    Args:
        width: Length of a token.
        heads: Number of questions that it asks at once; divides ``width``.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.asked = nn.Linear(width, 3 * width)
        self.answered = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, width)."""
        count, width = int(tokens.shape[1]), int(tokens.shape[2])
        parts = self.asked(tokens).reshape(-1, count, 3, self.heads, width // self.heads)
        query, key, value = (parts[:, :, n].transpose(1, 2) for n in range(3))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result = self.answered(mixed.transpose(1, 2).reshape(-1, count, width))
        kept: Tensor = self.dropout(result)
        return kept


class TransformerBlock(nn.Module):
    """Attention, then two matrices for each token; each is added to its input.

    Args:
        width: Length of a token.
        heads: Number of attention's heads.
        activation: Between the two matrices.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, width: int, heads: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, _MLP_RATIO * width),
            activation,
            nn.Linear(_MLP_RATIO * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens (B, N, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        result: Tensor = tokens + self.mlp(self.norm2(tokens))
        return result


def patch_size(width: int, height: int) -> int:
    """Return the largest patch in pixels that divides the canvas and leaves 49 patches.

    Where none leaves as many, the smallest that divides it; 0 where none does.
    """
    fitting = [side for side in _PATCHES_PX if width % side == 0 and height % side == 0]
    for side in fitting:
        if (width // side) * (height // side) >= _FEWEST_PATCHES:
            return side
    return fitting[-1] if fitting else 0


class VisionTransformer(nn.Module):
    """Cuts the picture into patches, and lets them ask each other.

    Its matrices begin as small as in the paper, and one token, ``class_token``, gathers the
    answer.

    Args:
        classes: Number of classes.
        width: Width of the canvas in pixels.
        height: Height of the canvas in pixels.
        tokens: Length of a token.
        layers: Number of blocks.
        heads: Number of attention's heads.

    Raises:
        ModelError: No patch divides the canvas.
    """

    def __init__(
        self,
        classes: int = 1000,
        *,
        width: int = 224,
        height: int = 224,
        tokens: int = 192,
        layers: int = 12,
        heads: int = 3,
    ) -> None:
        super().__init__()
        patch = patch_size(width, height)
        if not patch:
            raise ModelError(
                f"no patch divides a canvas of {width}x{height} pixels",
                where="network",
                remedy="make width and height even, or better multiples of 16",
            )
        self.patches = nn.Conv2d(3, tokens, patch, patch)
        count = (width // patch) * (height // patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, tokens))
        self.positions = nn.Parameter(torch.zeros(1, count + 1, tokens))
        self.blocks = nn.Sequential(
            *(TransformerBlock(tokens, heads, nn.GELU()) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(tokens)
        self.head = nn.Linear(tokens, classes)
        start_small(self)
        nn.init.trunc_normal_(self.positions, std=0.02)
        nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, classes) for pictures (B, 3, height, width)."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        first = self.class_token + torch.zeros_like(patches[:, :1])
        tokens = torch.cat((first, patches), dim=1) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


def start_small(network: nn.Module) -> None:
    """Give the matrices their random start: a normal one of deviation 0.02, no biases."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
