"""The ranges that a training has learnt, as its run directory keeps them."""

from __future__ import annotations

import math

import msgspec


class LearntRange(msgspec.Struct, frozen=True):
    """Between which values a tensor is rounded.

    Attributes:
        call: Number of the call in the network's forward that makes the tensor; -1 is the
            network's input.
        function: The function that is called; empty for the input.
        low: The least value, not above 0.
        high: The largest value, not below 0.
    """

    call: int
    function: str
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what is no range with zero."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("the ends of a range must be finite")
        if not self.low <= 0 <= self.high:
            raise ValueError("a range must hold 0")
