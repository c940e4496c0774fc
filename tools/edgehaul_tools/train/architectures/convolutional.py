"""A temporal convolutional network of windows of a series (TCN, Bai et al. 2018).

Batch norm stands where the paper normalises the weights: it folds into the convolutions when
the model is exported, and so costs the box nothing.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_KERNEL = 3


class CausalConv(nn.Module):
    """A dilated convolution that sees no later step, batch norm, ReLU, dropout.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        dilation: Distance in steps between the values that it sees.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = (_KERNEL - 1) * dilation
        self.conv = nn.Conv1d(inputs, outputs, _KERNEL, dilation=dilation, bias=False)
        self.bn = nn.BatchNorm1d(outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, series: Tensor) -> Tensor:
        """Return series (B, outputs, T)."""
        known = self.bn(self.conv(functional.pad(series, (self.past, 0))))
        result: Tensor = self.dropout(functional.relu(known, inplace=True))
        return result


class TemporalBlock(nn.Module):
    """Two causal convolutions whose result is added to their input.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        dilation: Distance in steps between the values that it sees.
        dropout: Share of the values that are left out while learning.
    """

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalConv(inputs, outputs, dilation, dropout)
        self.second = CausalConv(outputs, outputs, dilation, dropout)
        self.short = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, series: Tensor) -> Tensor:
        """Return series (B, outputs, T)."""
        short = series if self.short is None else self.short(series)
        return functional.relu(short + self.second(self.first(series)), inplace=True)


def receptive_steps(blocks: int) -> int:
    """Return how many steps the last one of a network of ``blocks`` depends on."""
    return 1 + 2 * (_KERNEL - 1) * ((1 << blocks) - 1)


class TemporalConvNet(nn.Module):
    """The network; its answer is read from the last step.

    Args:
        features: Number of values at each step.
        window: Number of steps; blocks are added until the last step depends on all of them.
        hidden: Width of the convolutions.
        layers: Least number of blocks.
        dropout: Share of the values that are left out while learning.
        outputs: Number of labels, or of values that it says.
    """

    def __init__(
        self, features: int, window: int, hidden: int, layers: int, dropout: float, outputs: int
    ) -> None:
        super().__init__()
        count = layers
        while receptive_steps(count) < window:
            count += 1
        widths = [features] + [hidden] * count
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(widths[block], widths[block + 1], 2**block, dropout)
                for block in range(count)
            )
        )
        self.scores = nn.Linear(hidden, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        """Return logits (B, outputs) for normalised windows (B, steps, features)."""
        logits: Tensor = self.scores(self.blocks(windows.transpose(1, 2))[:, :, -1])
        return logits
