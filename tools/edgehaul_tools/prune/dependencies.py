"""Which layers must lose the same channels: the dependency graph of a network.

A channel that a convolution does not make any more is missing in its batch norm, in what it is
added to (residuals), in what it is put beside (concatenations), and in all layers that take it.
Torch-Pruning (Fang et al. 2023, "DepGraph", arXiv:2301.12900) finds these groups by tracing the
network once; what is removed of them is decided here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.train.architectures.blocks import FixedPool
from edgehaul_tools.train.narrowed import answer_shapes

Side = Literal["out", "in"]


@dataclass(frozen=True)
class Member:
    """One layer's part in a group.

    Attributes:
        name: Of the layer.
        layer: It.
        side: Whether it makes the channels (or passes them on, as norms do), or takes them.
        channels: Its own numbers of the group's channels.
        of_group: Which channel of the group each of them is; none where that is not known.
    """

    name: str
    layer: nn.Module
    side: Side
    channels: tuple[int, ...]
    of_group: tuple[int, ...] | None


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of which each is removed from all of its layers, or from none.

    Attributes:
        name: Of the layer that stands for it: the first one that makes the channels.
        channels: How many there are.
        members: All layers with weights that have them.
    """

    name: str
    channels: int
    members: tuple[Member, ...]

    @property
    def is_end(self) -> bool:
        """Whether no layer takes the channels: they are what the network answers."""
        return all(member.side == "out" for member in self.members)


class Dependencies:
    """The dependency graph of a network, which is changed in place by :meth:`remove`.

    Args:
        network: Traced in evaluation mode, and left in the mode that it was in.
        input_shape: Of what it takes, with the batch.
    """

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...]) -> None:
        # Imported here: only who prunes needs it.
        from torch_pruning import DependencyGraph  # type: ignore[import-untyped]  # noqa: PLC0415 - as above; no stubs

        self._network = network
        self._names = {layer: name for name, layer in network.named_modules()}
        training = network.training
        # The tracing follows gradients, so all weights must have them.
        frozen = [weight for weight in network.parameters() if not weight.requires_grad]
        for weight in frozen:
            weight.requires_grad = True
        hooks = [
            layer.register_forward_hook(_pooled_at_once)
            for layer in network.modules()
            if isinstance(layer, FixedPool)
        ]
        with torch.enable_grad():
            self._graph: Any = DependencyGraph().build_dependency(network, torch.zeros(input_shape))
        for hook in hooks:
            hook.remove()
        for weight in frozen:
            weight.requires_grad = False
        network.train(training)

    def groups(self) -> list[ChannelGroup]:
        """Return all groups, in the order of the network's layers."""
        layers = (nn.Conv1d, nn.Conv2d, nn.Linear)
        found = [self._group(g) for g in self._graph.get_all_groups(root_module_types=layers)]
        order = {name: number for number, name in enumerate(self._names.values())}
        return sorted(found, key=lambda group: order[group.name])

    def remove(self, name: str, channels: Sequence[int]) -> None:
        """Remove channels of a group from all of its layers; other groups stay as they are.

        Args:
            name: Of the group.
            channels: Numbers of its channels.
        """
        layer = self._network.get_submodule(name)
        pruner = self._graph.get_pruner_of_module(layer)
        self._graph.get_pruning_group(layer, pruner.prune_out_channels, list(channels)).prune()

    def _group(self, found: Any) -> ChannelGroup:  # noqa: ANN401 - the library has no types
        root = found[0].dep.target.module
        members = [
            self._member(item) for item in found.items if item.dep.target.module in self._names
        ]
        return ChannelGroup(self._names[root], len(found[0].idxs), tuple(members))

    def _member(self, item: Any) -> Member:  # noqa: ANN401 - the library has no types
        layer, handler = item.dep.target.module, item.dep.handler
        makes = self._graph.is_out_channel_pruning_fn(handler)
        of_group = None if None in item.root_idxs else tuple(item.root_idxs)
        return Member(
            self._names[layer], layer, "out" if makes else "in", tuple(item.idxs), of_group
        )


def _pooled_at_once(pool: nn.Module, given: tuple[Tensor, ...], _cells: Tensor) -> Tensor:
    """Answer for a pool whose own products of matrices would be taken for other channels."""
    size: int = pool.size  # type: ignore[assignment]  # of a FixedPool
    return functional.adaptive_avg_pool2d(given[0], size)


def unremovable(
    network: nn.Module, groups: Sequence[ChannelGroup], input_shape: tuple[int, ...]
) -> frozenset[str]:
    """Return the names of the groups without whose channels the network would not run.

    A network may count on a number of channels in its own code, as one does that makes a picture
    of a row of values. That shows when they are removed from a copy.

    Args:
        network: It is left as it is.
        groups: Of it; those of its answers are passed over.
        input_shape: Of what it takes, with the batch.
    """
    inner = [group for group in groups if not group.is_end]
    wanted = answer_shapes(network, input_shape)
    if _runs_without(network, input_shape, inner, wanted):
        return frozenset()
    alone = (g for g in inner if not _runs_without(network, input_shape, [g], wanted))
    return frozenset(group.name for group in alone)


def _runs_without(
    network: nn.Module,
    input_shape: tuple[int, ...],
    groups: Sequence[ChannelGroup],
    wanted: list[tuple[int, ...]],
) -> bool:
    """Return whether a network still runs without half the channels of these groups."""
    trial = copy.deepcopy(network)
    dependencies = Dependencies(trial, input_shape)
    for group in groups:
        dependencies.remove(group.name, range(group.channels // 2))
    try:
        return answer_shapes(trial, input_shape) == wanted
    except RuntimeError:
        return False
