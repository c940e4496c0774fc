"""How many channels each group keeps, and which: by importance, in numbers that run fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["global", "uniform"]
_LEAST_MULTIPLE = 8
"""Kernels work on 8 channels at a time: fewer, or a part of as many, take as long."""
_LEAST_SHARE = 8
"""A group keeps an eighth of its channels: globally ranked, whole layers would vanish, and with
them all that comes after (Tanaka et al. 2020, "SynFlow", call it layer collapse)."""


@dataclass(frozen=True)
class Kept:
    """What is kept of one group.

    Attributes:
        before: Number of its channels in the network that nothing was removed from.
        channels: Numbers of the channels that are kept, of those that there are now, ascending.
        reason: Why nothing is removed, where nothing is; else empty.
    """

    before: int
    channels: tuple[int, ...]
    reason: str = ""


def multiple_for(channels: int, round_to: int) -> int:
    """Return the multiple that a group's channels are rounded to.

    Rounded to 16, a group of 24 channels could only keep all of them, or 16: narrow groups get a
    smaller multiple, but none below 8.

    Args:
        channels: Number of its channels in the dense network.
        round_to: The multiple asked for; 1 rounds nothing.
    """
    multiple = round_to
    while multiple > _LEAST_MULTIPLE and channels < 2 * multiple:
        multiple = max(multiple // 2, _LEAST_MULTIPLE)
    return multiple


def rounded(wanted: float, channels: int, round_to: int) -> int:
    """Return how many of a group's channels are kept: the nearest multiple, never none.

    Args:
        wanted: Number that is to be kept.
        channels: Number of channels in the dense network.
        round_to: The multiple asked for.
    """
    multiple = multiple_for(channels, round_to)
    least = max(multiple, -(-channels // _LEAST_SHARE))
    kept = max(int(wanted / multiple + 0.5) * multiple, -(-least // multiple) * multiple)
    return min(kept, channels)


def choose(
    importance: Mapping[str, Tensor],
    before: Mapping[str, int],
    share: float,
    *,
    scope: Scope,
    round_to: int,
) -> dict[str, Kept]:
    """Choose the channels that are kept of each group.

    Args:
        importance: (channels,) of each group by name, as many as there are now.
        before: Number of channels of each group in the dense network.
        share: Share of the dense network's channels that is to be missing afterwards, counted
            over all groups, each channel of a group once.
        scope: ``uniform`` takes the share of each group; ``global`` takes the least important
            channels wherever they are.
        round_to: The multiple that numbers of channels are rounded to; see :func:`multiple_for`.
    """
    wanted = (
        {name: before[name] * (1 - share) for name in importance}
        if scope == "uniform"
        else _globally(importance, sum(before[name] for name in importance) * (1 - share))
    )
    chosen = {}
    for name, values in importance.items():
        count = min(rounded(wanted[name], before[name], round_to), len(values))
        best = torch.argsort(values, descending=True, stable=True)[:count]
        reason = "" if count < before[name] else _reason(before[name], wanted[name], round_to)
        chosen[name] = Kept(before[name], tuple(sorted(best.tolist())), reason)
    return chosen


def _globally(importance: Mapping[str, Tensor], count: float) -> dict[str, float]:
    """Return how many channels of each group are among the ``count`` most important of all."""
    every = torch.cat(list(importance.values()))
    number = min(max(round(count), 0), len(every))
    best = torch.zeros(len(every), dtype=torch.bool)
    best[torch.argsort(every, descending=True, stable=True)[:number]] = True
    parts = torch.split(best, [len(values) for values in importance.values()])
    return {name: float(part.sum()) for name, part in zip(importance, parts, strict=True)}


def _reason(before: int, wanted: float, round_to: int) -> str:
    multiple = multiple_for(before, round_to)
    if before < 2 * multiple:
        return f"{before} channels: fewer than {multiple} would run no faster"
    if wanted >= before:
        return "all of its channels are more important than those of others"
    return f"{wanted:.0f} of {before} channels round to all, in multiples of {multiple}"
