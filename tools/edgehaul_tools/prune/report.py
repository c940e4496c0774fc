"""What became of a run that was pruned: ``prune.json`` beside the pruned run's own files."""

from __future__ import annotations

import msgspec

from edgehaul_tools.prune.options import PruneOptions
from edgehaul_tools.prune.removal import LayerChange

PRUNE_FILE = "prune.json"


class Cost(msgspec.Struct, frozen=True):
    """What a network costs.

    Attributes:
        parameters: Number of weights.
        macs: Multiplications with an addition for one input.
    """

    parameters: int
    macs: int


class Download(msgspec.Struct, frozen=True):
    """What a network's weights take on their way to a box.

    Attributes:
        int8_bytes: As int8.
        compressed_bytes: The same, compressed without loss.
        zeros: Share of them that is zero.
    """

    int8_bytes: int
    compressed_bytes: int
    zeros: float


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a pruning went, as ``prune.json`` in the run directory says.

    Attributes:
        run: The run that was pruned.
        options: How.
        share: Share of the channels that was reached; rounding keeps it from the one asked for.
        before: What the network cost.
        after: What it costs now.
        metrics_before: The run's figures on the validation part.
        metrics: Those of the pruned run, on the same part.
        layers: What became of each group of channels.
        download: What the weights take, where single ones were set to zero.
        download_before: What they took before.
    """

    run: str
    options: PruneOptions
    share: float
    before: Cost
    after: Cost
    metrics_before: dict[str, float]
    metrics: dict[str, float]
    layers: tuple[LayerChange, ...]
    download: Download | None = None
    download_before: Download | None = None
