"""What a training began with, where that was no random network: kept in ``run.json``."""

from __future__ import annotations

from typing import Literal

import msgspec

Method = Literal["retrained", "pruned", "sparse", "quantization-aware"]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where the network of a training is from.

    Attributes:
        how: What was done to it: only trained on (a control), channels removed, single weights
            set to zero, or trained with quantization in mind.
        run: Name of the run directory that it is from.
        weights_sha256: Of that run's weights, which another run under this name has not.
        share: Share of the channels that are not there any more, since the recipe's network. It
            is kept over further trainings: above 0, the weights have other shapes than the
            recipe's network.
        notes: How it was done, by name; whoever asks for anything else trains something else.
    """

    how: Method
    run: str
    weights_sha256: str = ""
    share: float = 0.0
    notes: dict[str, str] = {}
