"""Single weights at zero: a smaller download, and not a faster model.

ONNX Runtime multiplies by zeros as by anything else. What zeros are good for is that a compressed
download carries them in few bits. Method: Zhu and Gupta 2017, "To prune, or not to prune",
arXiv:1710.01878, with the least weights of each layer chosen once, before it learns on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgehaul_tools.prune.report import Download

_LARGEST = 127


class Zeros:
    """The weights of a network that are zero, and stay so while it learns.

    Args:
        network: Its least weights are chosen, of each matrix and kernel; they become zero before
            each forward of it, and of copies of it.
        sparsity: Share of the weights.
    """

    def __init__(self, network: nn.Module, sparsity: float) -> None:
        self._kept = {name: _largest(weight, sparsity) for name, weight in _weights(network)}
        network.register_forward_pre_hook(self._before_forward)

    def settle(self, network: nn.Module) -> nn.Module:
        """Return a network, itself or a copy, with the weights at zero."""
        self._before_forward(network, ())
        return network

    @torch.no_grad()
    def _before_forward(self, network: nn.Module, _given: object) -> None:
        for name, weight in _weights(network):
            weight.mul_(self._kept[name])


def download_of(network: nn.Module) -> Download:
    """Return how many bytes a network's weights have as int8, and compressed.

    Scales are per matrix or kernel; zlib stands for what a download is compressed with.
    """
    whole, packed, zeros = 0, 0, 0
    for _name, weight in _weights(network):
        largest = weight.detach().abs().max().clamp(min=torch.finfo(weight.dtype).tiny)
        rounded = (weight.detach() / largest * _LARGEST).round().to(torch.int8)
        content = rounded.contiguous().numpy().tobytes()
        whole, packed = whole + len(content), packed + len(zlib.compress(content))
        zeros += int((weight == 0).sum())
    return Download(int8_bytes=whole, compressed_bytes=packed, zeros=zeros / max(whole, 1))


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield matrices and kernels: biases and norms are few, and each of them counts."""
    return ((name, p) for name, p in network.named_parameters() if p.ndim > 1)


def _largest(weight: Tensor, sparsity: float) -> Tensor:
    """Return ones where a weight stays, and zeros elsewhere."""
    kept = torch.ones(weight.numel(), dtype=weight.dtype)
    least = weight.detach().abs().flatten().argsort(stable=True)
    kept[least[: round(sparsity * weight.numel())]] = 0
    return kept.reshape(weight.shape)
