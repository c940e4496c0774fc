"""Where a network's values become int8: at the tensors where ONNX Runtime's quantizer rounds them.

Its QDQ form rounds what goes into a convolution or a matrix, what comes out of it and its ReLU,
and both sides of additions, products and concatenations. Pooling by maxima and reshaping take
the rounding over from their input. What lies before the first weights and behind the last ones
stays in float, as ``edgehaul quantize`` leaves it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgehaul_tools.train.qat.calls import NETWORK_INPUT, WEIGHTED, Call

_ACTIVATIONS = frozenset({"relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp"})
"""The integer kernels of what is before them do these by cutting alone."""
_ROUNDED = frozenset(
    {"add", "__add__", "__radd__", "add_", "__iadd__", "mul", "__mul__", "__rmul__", "cat"}
    | {"sigmoid", "leaky_relu", "silu", "hardswish"}
)
_SAME_GRID = frozenset({"avg_pool1d", "avg_pool2d"})
"""Round anew, to the steps of their input."""
_PASSING = _SAME_GRID | frozenset(
    {"max_pool1d", "max_pool2d", "interpolate", "pad", "chunk", "split", "__getitem__"}
    | {"flatten", "reshape", "view", "transpose", "permute", "squeeze", "unsqueeze", "contiguous"}
)

_Neighbours = Callable[[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Places:
    """Where values are rounded.

    Attributes:
        rounded: Numbers of the calls whose results have a range of their own, in order;
            ``NETWORK_INPUT`` stands for the network's input.
        shared: Of each call that takes over a range, whose range it is.
        norms: Of each weighted call that a batch norm is folded into, the norm's call.
    """

    rounded: tuple[int, ...]
    shared: Mapping[int, int]
    norms: Mapping[int, int]


def places_of(calls: Sequence[Call]) -> Places:
    """Return where the values of a network become int8.

    Args:
        calls: What its forward calls, from
            :func:`~edgehaul_tools.train.qat.calls.recorded_calls`.
    """
    graph = _Graph(calls)
    rounded: set[int] = set()
    norms: dict[int, int] = {}
    for number, call in enumerate(calls):
        if call.function in WEIGHTED:
            rounded |= {graph.origin(call.sources[0]), graph.end(number)}
            norm = graph.norm_of(number)
            if norm is not None:
                norms[number] = norm
        elif call.function in _ROUNDED and graph.is_between(number):
            rounded |= {graph.origin(source) for source in call.sources} | {graph.end(number)}
    shared = {
        number: graph.origin(number)
        for number, call in enumerate(calls)
        if call.function in _SAME_GRID and graph.origin(number) in rounded
    }
    return Places(tuple(sorted(rounded)), shared, norms)


class _Graph:
    """Which calls read which."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self._readers: defaultdict[int, list[int]] = defaultdict(list)
        for number, call in enumerate(calls):
            for source in call.sources:
                self._readers[source].append(number)
        self._behind = self._reached(range(len(calls)), lambda n: calls[n].sources)
        backwards = range(len(calls) - 1, -1, -1)
        self._ahead = self._reached(backwards, lambda n: self._readers[n])

    def is_between(self, number: int) -> bool:
        """Return whether there are weights before a call and behind it."""
        return number in self._behind and number in self._ahead

    def origin(self, number: int) -> int:
        """Return the call that made the values which others have merely passed on."""
        while number != NETWORK_INPUT and self._calls[number].function in _PASSING:
            number = self._calls[number].sources[0]
        return number

    def end(self, number: int) -> int:
        """Return the last of the calls that int8 runs as one, from the weighted one on."""
        norm = self.norm_of(number)
        at = number if norm is None else norm
        while True:
            reader = self._only_reader(at)
            if reader is None or self._calls[reader].function not in _ACTIVATIONS:
                return at
            at = reader

    def norm_of(self, number: int) -> int | None:
        """Return the batch norm that alone reads a call's result."""
        reader = self._only_reader(number)
        foldable = self._calls[number].function in WEIGHTED
        return reader if foldable and reader is not None and self._calls[reader].norm else None

    def _only_reader(self, number: int) -> int | None:
        readers = self._readers[number]
        return readers[0] if len(readers) == 1 else None

    def _reached(self, order: Sequence[int], neighbours: _Neighbours) -> set[int]:
        reached: set[int] = set()
        for number in order:
            if any(
                n != NETWORK_INPUT and (n in reached or self._calls[n].function in WEIGHTED)
                for n in neighbours(number)
            ):
                reached.add(number)
        return reached
