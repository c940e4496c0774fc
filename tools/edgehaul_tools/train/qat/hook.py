"""Lets a handler take part in every forward of a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from edgehaul_tools.train.qat.calls import NETWORK_INPUT, Call, Handler, Replay


def hook(network: nn.Module, calls: tuple[Call, ...], handler: Handler) -> None:
    """Let a handler take part in every forward of a network; copies of it have copies of it.

    Args:
        network: It takes one tensor.
        calls: Its forward.
        handler: Is asked at each call.
    """
    switch = _Switch(calls, handler)
    network.register_forward_pre_hook(switch.enter)
    network.register_forward_hook(switch.leave, always_call=True)


@contextmanager
def first_input(network: nn.Module) -> Iterator[list[Tensor]]:
    """Give a list that holds, once the network has run, what it was given."""
    given: list[Tensor] = []
    handle = network.register_forward_pre_hook(lambda _network, values: given.append(values[0]))
    try:
        yield given
    finally:
        handle.remove()


class _Switch:
    """Switches a handler on before a forward, and off behind it."""

    def __init__(self, calls: tuple[Call, ...], handler: Handler) -> None:
        self._calls, self._handler = calls, handler
        self._on: list[Replay] = []

    def enter(self, network: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """Switch it on; the input is its matter, too."""
        del network
        first, *others = given
        changed = self._handler.after(NETWORK_INPUT, first)
        replay = Replay(self._calls, self._handler)
        replay.__enter__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._on.append(replay)
        return (changed, *others)

    def leave(self, network: nn.Module, given: tuple[Any, ...], result: object) -> None:
        """Switch it off."""
        del network, given, result
        if self._on:  # not where the input was refused
            self._on.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]  # as above
