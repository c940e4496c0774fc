"""A network with the rounding of int8 in its forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgehaul_tools.train.qat.calls import NETWORK_INPUT, WEIGHTED, Call
from edgehaul_tools.train.qat.fake import fake_byte, fake_weight
from edgehaul_tools.train.qat.fold import Norm, folded
from edgehaul_tools.train.qat.hook import hook
from edgehaul_tools.train.qat.places import places_of
from edgehaul_tools.train.qat.ranges import LearntRange

CHILD = "fake_quantization"
"""Name under which it is a part of the network that it rounds."""


class FakeQuantization(nn.Module):
    """Rounds a network's weights and values as int8 will.

    The ends of each range are multiplied by a power, which is learnt: a step of the optimizer
    changes small and large ranges by the same share (Jain et al. 2020, "Trained Quantization
    Thresholds"). The range of the network's input is known, and stays as it is.

    Args:
        network: What is rounded.
        calls: Its forward.
        bits: Width of the weights, 7 or 8.
        per_channel: Whether each channel's weights have a step of their own.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, network: nn.Module, calls: tuple[Call, ...], bits: int, *, per_channel: bool
    ) -> None:
        super().__init__()
        self._network = [network]  # in a list: this is a part of it, and not the other way round
        self._calls, self._bits, self._per_channel = calls, bits, per_channel
        places = places_of(calls)
        self._norms = places.norms
        self._folded = frozenset(places.norms.values())
        self._shared = places.shared
        self._places = {call: at for at, call in enumerate(places.rounded)}
        count = len(places.rounded)
        # Vectors: they do not decay.
        self.stretch_low = nn.Parameter(torch.zeros(count))
        self.stretch_high = nn.Parameter(torch.zeros(count))
        self.register_buffer("low", torch.zeros(count))
        self.register_buffer("high", torch.zeros(count))
        self._measured: list[list[tuple[float, float]]] | None = None

    def train(self, mode: bool = True) -> FakeQuantization:  # noqa: FBT001, FBT002 - torch's signature
        """Keep the statistics of folded batch norms as they are, in training, too."""
        for call in self._folded:
            self._norm(call).eval()
        super().train(mode)
        return self

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure the ranges meanwhile, and round nothing.

        Of several batches the means of their extremes are taken: single values far outside
        would make every step coarse.
        """
        self._measured = [[] for _ in self._places]
        try:
            yield
            found = torch.tensor(self._measured).reshape(len(self._places), -1, 2).mean(1)
            self.low.copy_(found[:, 0].clamp(max=0))
            self.high.copy_(found[:, 1].clamp(min=0))
        finally:
            self._measured = None

    @torch.no_grad()
    def ranges(self) -> tuple[LearntRange, ...]:
        """Return the ranges as they are now."""
        low, high = self._ends()
        names = {NETWORK_INPUT: "", **{n: call.function for n, call in enumerate(self._calls)}}
        return tuple(
            LearntRange(call, names[call], float(low[at]), float(high[at]))
            for call, at in self._places.items()
        )

    def compute(self, number: int, func: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
        """Return what a layer makes with its norm folded in and its weights rounded."""
        if number in self._folded:
            folded_already: Tensor = args[0]
            return folded_already
        if self._calls[number].function in WEIGHTED:
            given, weight, bias, *others = (*args, None) if len(args) == 2 else args  # noqa: PLR2004 - no bias
            if number in self._norms:
                weight, bias = folded(weight, bias, self._norm(self._norms[number]))
            if self._measured is None:
                weight = fake_weight(weight, self._bits, per_channel=self._per_channel)
            args = (given, weight, bias, *others)
        return func(*args)

    def after(self, number: int, result: Any) -> Any:  # noqa: ANN401 - a tensor, or several
        """Return the result of a call, rounded where int8 rounds it."""
        at = self._places.get(self._shared.get(number, number))
        if at is None:
            return result
        if self._measured is not None:
            if number in self._places:
                self._measured[at].append((float(result.min()), float(result.max())))
            return result
        low, high = self._ends()
        ends = low[at], high[at]
        if number == NETWORK_INPUT:
            ends = ends[0].detach(), ends[1].detach()
        return fake_byte(result, *ends)

    def _ends(self) -> tuple[Tensor, Tensor]:
        return self.low * self.stretch_low.exp(), self.high * self.stretch_high.exp()

    def _norm(self, call: int) -> Norm:
        norm = self._network[0].get_submodule(self._calls[call].norm)
        if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            raise TypeError(norm)
        return norm


def attach(
    network: nn.Module, calls: tuple[Call, ...], bits: int, *, per_channel: bool
) -> FakeQuantization:
    """Put the rounding of int8 into a network.

    It becomes a part of the network, so that its ranges are trained, averaged and kept with the
    weights, and hooks switch it on in each forward. The network stays of its class, and its
    weights keep their names.

    Args:
        network: What is rounded, changed in place.
        calls: Its forward.
        bits: Width of the weights, 7 or 8.
        per_channel: Whether each channel's weights have a step of their own.

    Returns:
        The part; its ranges must be measured before the network is trained.
    """
    fake = FakeQuantization(network, calls, bits, per_channel=per_channel)
    network.add_module(CHILD, fake)
    hook(network, calls, fake)
    return fake
