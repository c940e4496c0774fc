"""One pruning of a network: rank its channels, remove the least important ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.prune.choice import Kept, Scope, choose
from edgehaul_tools.prune.dependencies import ChannelGroup, Dependencies, unremovable
from edgehaul_tools.prune.importance import (
    Criterion,
    Gradients,
    importance_of,
    require_scales,
)
from edgehaul_tools.train.architectures.attention import SelfAttention

_FIXED: dict[type[nn.Module], str] = {
    nn.LSTM: "an LSTM",
    nn.GRU: "a GRU",
    SelfAttention: "self-attention",
}
"""Layers whose width all of the network is tied to."""


class LayerChange(msgspec.Struct, frozen=True):
    """What became of one group of channels.

    Attributes:
        name: The layer that stands for it.
        before: Number of its channels in the dense network.
        after: Number of them now.
        reason: Why nothing was removed, where nothing was.
        fixed: Whether nothing could be removed, whatever had been asked for.
    """

    name: str
    before: int
    after: int
    reason: str = ""
    fixed: bool = False


class Ranking(msgspec.Struct, frozen=True):
    """How channels are chosen.

    Attributes:
        importance: ``l1``, ``l2``, ``bn-scale`` or ``taylor``.
        scope: ``global`` ranks all channels together, ``uniform`` those of each group.
        round_to: What the numbers of channels are multiples of, where they are not too few.
    """

    importance: Criterion = "l1"
    scope: Scope = "uniform"
    round_to: int = 16


def require_prunable(network: nn.Module) -> None:
    """Refuse a network whose channels cannot be removed.

    Raises:
        ModelError: It is recurrent, or a transformer.
    """
    found = {
        text for kind, text in _FIXED.items() for m in network.modules() if isinstance(m, kind)
    }
    if found:
        raise ModelError(
            f"this network has {' and '.join(sorted(found))}, and its channels cannot be removed",
            remedy="train a narrower one (hidden, in its recipe), or one of convolutions (tcn, "
            "resnet18); 'edgehaul quantize' makes this one smaller, too",
        )


def prune_network(
    network: nn.Module,
    input_shape: tuple[int, ...],
    share: float,
    ranking: Ranking,
    *,
    batches: Iterable[Gradients] = (),
    before: Mapping[str, int] | None = None,
) -> tuple[LayerChange, ...]:
    """Remove a share of a network's channels, in place.

    What the network takes and what it answers (classes, boxes) stays; so does a group of which
    the network's own code counts the channels.

    Args:
        network: The network; its weights are new ones afterwards.
        input_shape: Of what it takes, with the batch.
        share: Share of the dense network's channels that is to be missing afterwards.
        ranking: How the channels are chosen.
        batches: Gradients of some batches, for ``taylor``.
        before: Number of channels of each group in the dense network, where this is not it.

    Raises:
        ModelError: The network cannot be pruned, or not by this ranking.
    """
    require_prunable(network)
    if ranking.importance == "bn-scale":
        require_scales(network)
    dependencies = Dependencies(network, input_shape)
    groups = dependencies.groups()
    dense = {g.name: (before or {}).get(g.name, g.channels) for g in groups}
    importance, reasons = _ranked(network, groups, input_shape, ranking, batches)
    kept = choose(importance, dense, share, scope=ranking.scope, round_to=ranking.round_to)
    for group in groups:
        if group.name in kept:
            _remove(dependencies, group, kept[group.name])
    return tuple(_change(group, dense[group.name], kept, reasons) for group in groups)


def reached_share(changes: Sequence[LayerChange]) -> float:
    """Return the share of the channels that are missing, of those that could be removed."""
    before = sum(change.before for change in changes if not change.fixed)
    after = sum(change.after for change in changes if not change.fixed)
    return 1 - after / before if before else 0.0


def _ranked(
    network: nn.Module,
    groups: list[ChannelGroup],
    input_shape: tuple[int, ...],
    ranking: Ranking,
    batches: Iterable[Gradients],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the importance of the channels that may be removed, and why others may not."""
    counted = unremovable(network, groups, input_shape)
    reasons = {group.name: "what the network answers" for group in groups if group.is_end}
    reasons |= dict.fromkeys(counted, "the network counts on their number")
    removable = [group for group in groups if group.name not in reasons]
    importance = importance_of(removable, ranking.importance, batches)
    unknown = "no batch norm says how important they are"
    reasons |= {group.name: unknown for group in removable if group.name not in importance}
    return importance, reasons


def _remove(dependencies: Dependencies, group: ChannelGroup, kept: Kept) -> None:
    gone = sorted(set(range(group.channels)) - set(kept.channels))
    if gone:
        dependencies.remove(group.name, gone)


def _change(
    group: ChannelGroup, before: int, kept: Mapping[str, Kept], reasons: Mapping[str, str]
) -> LayerChange:
    if group.name not in kept:
        return LayerChange(group.name, before, group.channels, reasons[group.name], fixed=True)
    found = kept[group.name]
    return LayerChange(group.name, before, len(found.channels), found.reason)
