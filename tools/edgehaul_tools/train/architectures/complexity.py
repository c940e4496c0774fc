"""What a network costs: weights, and multiplications for one input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgehaul_tools.train.architectures.attention import SelfAttention


@dataclass(frozen=True)
class Complexity:
    """The cost of one network.

    Attributes:
        parameters: Number of weights.
        macs: Multiplications with an addition for one input: of convolutions, matrices,
            recurrent layers and attention, as papers count them.
    """

    parameters: int
    macs: int


def measure_complexity(network: nn.Module, *inputs: Tensor) -> Complexity:
    """Return the cost of a network for one input.

    Args:
        network: It is run once, in evaluation mode, and left as it was.
        inputs: What it takes, a batch of one.
    """
    macs = 0

    def count(layer: nn.Module, given: tuple[Tensor, ...], result: object) -> None:
        nonlocal macs
        if given:  # what only makes weights, as spectral norm does, is given nothing
            macs += _macs(layer, given[0], result)

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return Complexity(sum(p.numel() for p in network.parameters()), macs)


def _macs(layer: nn.Module, given: Tensor, result: object) -> int:
    """Return the multiplications of one layer itself, without those of its parts."""
    if isinstance(layer, (nn.Conv1d, nn.Conv2d)) and isinstance(result, Tensor):
        # Each value of the result takes one kernel: its weights over all channels of its group.
        return result.numel() * layer.weight[0].numel()
    if isinstance(layer, nn.Linear) and isinstance(result, Tensor):
        return result.numel() * layer.in_features
    if isinstance(layer, (nn.LSTM, nn.GRU)):
        matrices = [w for name, w in layer.named_parameters() if name.startswith("weight")]
        return int(given.shape[1]) * sum(w.numel() for w in matrices)
    if isinstance(layer, SelfAttention):
        count, width = int(given.shape[1]), int(given.shape[2])
        return 2 * count * count * width  # questions times keys, and shares times values
    return 0
