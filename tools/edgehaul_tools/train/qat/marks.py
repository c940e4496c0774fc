"""Marks at the tensors whose ranges were learnt: by them the exported graph tells their names.

A mark is ``min(x, number)`` with a number beyond all values. It changes nothing, no optimizer of
graphs fuses it with what is around it, as they do with a clip, and each one has a number of its
own. The export takes them out again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.train.qat.calls import NETWORK_INPUT, recorded_calls
from edgehaul_tools.train.qat.hook import hook
from edgehaul_tools.train.qat.ranges import LearntRange

UNIT = 2.0**80
"""Marks are 1, 2, 3 ... of it: exact in float32, and no network's value is as large."""


def mark_ranges(network: nn.Module, ranges: Sequence[LearntRange], given: Tensor) -> None:
    """Mark the tensors of a network whose ranges were learnt, in this order.

    Args:
        network: In evaluation mode; its forward makes marks from now on.
        ranges: What was learnt.
        given: An input.

    Raises:
        ModelError: The network's forward is not the one that the ranges were learnt of.
    """
    calls = recorded_calls(network, given)
    for one in ranges:
        there = one.call < len(calls)
        found = "" if one.call == NETWORK_INPUT else calls[one.call].function if there else "none"
        if found != one.function:
            raise ModelError(
                f"a range was learnt of the result of {one.function!r}, and call {one.call} of the "
                f"network is {found!r}",
                remedy="run `edgehaul qat` again with this version",
            )
    hook(network, calls, _Marking({one.call: at for at, one in enumerate(ranges)}))


class _Marking:
    def __init__(self, places: dict[int, int]) -> None:
        self._places = places

    def compute(self, number: int, func: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
        del number
        return func(*args)

    def after(self, number: int, result: Any) -> Any:  # noqa: ANN401 - a tensor, or several
        at = self._places.get(number)
        if at is None:
            return result
        return torch.minimum(result, torch.tensor(UNIT * (at + 1)))
