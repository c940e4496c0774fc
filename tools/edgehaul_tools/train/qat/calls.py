"""The calls that a network's forward makes, written down so that they are known again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edgehaul.errors import ModelError

NETWORK_INPUT = -1
"""Stands for the network's input where a call's number is asked for."""
WEIGHTED = frozenset({"conv1d", "conv2d", "linear"})
"""Functions with a matrix of weights, which int8 multiplies."""
_COMPUTED = WEIGHTED | {"batch_norm"}
_TRANSPARENT = frozenset({"dropout", "dropout1d", "dropout2d", "feature_dropout", "alpha_dropout"})
"""Left out: in evaluation they do nothing, and calls must count alike in both modes."""
_RUNNING_MEAN = 1
"""Its position among the arguments of ``batch_norm``."""


@dataclass(frozen=True, slots=True)
class Call:
    """One function of torch that makes floating tensors, as a forward calls it.

    Attributes:
        function: Its name.
        sources: Numbers of the calls that made its tensors, in order; the network's input is
            ``NETWORK_INPUT``. Weights are left out.
        norm: Name of the batch norm whose weights it takes; empty for all others.
    """

    function: str
    sources: tuple[int, ...]
    norm: str = ""


class Handler(Protocol):
    """Takes part in a forward, call by call."""

    def compute(self, number: int, func: Callable[..., Tensor], args: tuple[Any, ...]) -> Tensor:
        """Return what a weighted function or a batch norm makes.

        Args:
            number: Of the call.
            func: The function; it has its keywords already.
            args: Its arguments by position.
        """
        ...

    def after(self, number: int, result: Any) -> Any:  # noqa: ANN401 - a tensor, or several
        """Return what takes the place of a call's result."""
        ...


class Replay(TorchFunctionMode):
    """Runs a forward whose calls are known, and lets a handler change them.

    Args:
        calls: As :func:`recorded_calls` found them.
        handler: Is asked at each call.

    Raises:
        ModelError: The forward makes other calls than these.
    """

    def __init__(self, calls: tuple[Call, ...], handler: Handler) -> None:
        super().__init__()
        self._calls, self._handler, self._next = calls, handler, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Run one function, or what takes its place."""
        del types
        number, name = self._next, _name(func)
        known = self._calls[number].function if number < len(self._calls) else "its end"
        if name == known and name in _COMPUTED:
            result = self._handler.compute(number, partial(func, **(kwargs or {})), args)
        else:
            result = func(*args, **(kwargs or {}))
            if not _counts(name, result, args):
                return result
            if name != known:
                raise ModelError(
                    f"call {number} of the network's forward is {name!r}, and was {known!r}",
                    remedy="train it anew with this version",
                )
        self._next += 1
        return self._handler.after(number, result)


class _Recorder(TorchFunctionMode):
    """Writes down calls, and which of them made each tensor."""

    def __init__(self, norms: Mapping[int, str], given: Tensor) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._norms = norms
        self._makers = {id(given): NETWORK_INPUT}
        self._kept: list[Any] = [given]  # an id is a tensor's own only as long as it lives

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the function returns
        """Run one function and write it down."""
        del types
        makers = [self._makers.get(id(value)) for value in _tensors((args, kwargs or {}))]
        sources = tuple(maker for maker in makers if maker is not None)
        result = func(*args, **(kwargs or {}))
        name = _name(func)
        made = list(_tensors(result))
        self._kept.append(made)
        if _counts(name, result, args):
            norm = self._norms.get(id(args[_RUNNING_MEAN]), "") if name == "batch_norm" else ""
            self._makers.update((id(value), len(self.calls)) for value in made)
            self.calls.append(Call(name, sources, norm))
        elif sources and made and name in _TRANSPARENT:
            self._makers.update((id(value), sources[0]) for value in made)
        return result


@torch.no_grad()
def recorded_calls(network: nn.Module, given: Tensor) -> tuple[Call, ...]:
    """Return the calls of a network's forward, in their order.

    Args:
        network: Run once, in the mode that it is in.
        given: An input.
    """
    norms = {
        id(layer.running_mean): name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None
    }
    with _Recorder(norms, given) as recorder:
        network(given)
    return tuple(recorder.calls)


def _name(func: Callable[..., Any]) -> str:
    return str(getattr(func, "__name__", func))


def _counts(name: str, result: object, args: tuple[Any, ...]) -> bool:
    """Return whether a function has made a floating tensor that was not there before."""
    made = list(_tensors(result))
    if name in _TRANSPARENT or not made or not all(v.is_floating_point() for v in made):
        return False
    in_place = name.endswith("_") or name in {"relu", "relu6", "hardtanh"}
    return in_place or all(value is not given for value in made for given in args)


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
