"""Why a training diverged: what in a batch, a weight or a layer is no number any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

_LARGE = 1e4
"""Answers of a layer beyond it are worth telling."""


def cause_of(network: nn.Module, batch: object, loss: Callable[[], Tensor]) -> str:
    """Return what is most likely at fault, in a few words.

    Args:
        network: The network, as it was before the batch.
        batch: What it was to learn from.
        loss: Takes the batch's loss once more.
    """
    if any(not _finite(part) for part in _arrays(batch)):
        return "the batch itself holds values that are no numbers"
    broken = broken_weight(network)
    if broken:
        return f"the weights {broken} hold values that are no numbers"
    largest = _answers(network, loss)
    broken = next((name for name, value in largest.items() if not np.isfinite(value)), "")
    if broken:
        return f"the answers of layer {broken} are the first that are no numbers"
    name = max(largest, key=lambda key: largest[key], default="")
    if name and largest[name] > _LARGE:
        return f"the answers of layer {name} grew to {largest[name]:.1e}"
    name, value = _largest_gradient(network)
    return f"the gradient of {name} is the largest: {value:.1e}" if name else "no cause was found"


def broken_weight(*networks: nn.Module) -> str:
    """Return the first weight or running figure that is no number any more; empty without one."""
    for network in networks:
        for name, value in chain(network.named_parameters(), network.named_buffers()):
            if value.is_floating_point() and not _finite(value):
                return name
    return ""


def _answers(network: nn.Module, loss: Callable[[], Tensor]) -> dict[str, float]:
    """Return the largest absolute answer of every layer, in the order in which they answer."""
    largest: dict[str, float] = {}

    def note(name: str, _module: nn.Module, _given: object, answer: object) -> None:
        for part in _arrays(answer):
            if isinstance(part, Tensor) and part.is_floating_point() and part.numel():
                value = float(part.detach().abs().max())
                largest[name] = value if np.isnan(value) else max(largest.get(name, 0.0), value)

    leaves = [(name, m) for name, m in network.named_modules() if not [*m.children()]]
    hooks = [m.register_forward_hook(partial(note, name)) for name, m in leaves]
    try:
        with torch.no_grad():
            loss()
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def _largest_gradient(network: nn.Module) -> tuple[str, float]:
    sizes = {
        name: float(weight.grad.abs().nan_to_num(nan=float("inf")).max())
        for name, weight in network.named_parameters()
        if weight.grad is not None
    }
    name = max(sizes, key=lambda key: sizes[key], default="")
    return name, sizes.get(name, 0.0)


def _arrays(value: object) -> Iterator[Tensor | np.ndarray]:
    """Yield the tensors and arrays in a batch or an answer, however they are put together."""
    if isinstance(value, Tensor | np.ndarray):
        yield value
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for part in dataclasses.fields(value):
            yield from _arrays(getattr(value, part.name))
    elif isinstance(value, dict):
        for part in value.values():
            yield from _arrays(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _arrays(part)


def _finite(value: Tensor | np.ndarray) -> bool:
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())
