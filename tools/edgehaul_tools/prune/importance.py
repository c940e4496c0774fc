"""How much each channel matters: by its weights, its scale, or what the loss says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgehaul.errors import ModelError
from edgehaul_tools.prune.dependencies import ChannelGroup, Member

Criterion = Literal["l1", "l2", "bn-scale", "taylor"]
Gradients = Mapping[nn.Parameter, Tensor]
"""For each weight the gradient of the loss of one batch."""


def magnitudes(group: ChannelGroup, power: int) -> Tensor:
    """Return each channel's norm over all convolutions and matrices that make or take it.

    Li et al. 2017, arXiv:1608.08710 (L1 of the filters), taken over the whole group as by Fang et
    al. 2023, arXiv:2301.12900. Relative to the group's mean, so that groups can be compared.

    Args:
        group: The channels.
        power: 1 for L1, 2 for L2 (squared).

    Returns:
        (channels,), of mean 1.
    """
    parts = [
        _gathered(group, member, _per_channel(member.layer.weight.detach().abs() ** power, member))
        for member in group.members
        if isinstance(member.layer, (nn.Conv1d, nn.Conv2d, nn.Linear))
    ]
    total = torch.stack([part for part in parts if part is not None]).sum(dim=0)
    return total / total.mean().clamp(min=torch.finfo(total.dtype).tiny)


def scales(group: ChannelGroup) -> Tensor | None:
    """Return the mean absolute scale of each channel's batch norms, (channels,).

    Liu et al. 2017, "Network Slimming", arXiv:1708.06519: scales that a sparse training drove
    to zero mark channels that nothing needs.

    Returns:
        None where the group has no batch norm.
    """
    parts = [
        _gathered(group, member, member.layer.weight.detach().abs())
        for member in group.members
        if isinstance(member.layer, _BatchNorm) and member.layer.affine
    ]
    found = [part for part in parts if part is not None]
    return torch.stack(found).mean(dim=0) if found else None


def taylor(groups: Sequence[ChannelGroup], batches: Iterable[Gradients]) -> dict[str, Tensor]:
    """Return how much the loss would change without each channel, to the first order.

    Molchanov et al. 2019, arXiv:1906.10771, equation 8: the square of the summed products of
    weights and gradients, summed over batches; the mean over the layers that make the channel.

    Args:
        groups: The channels.
        batches: The gradients of each batch; gone over once.

    Returns:
        (channels,) of each group by name, in squared units of the loss.
    """
    total = {group.name: torch.zeros(group.channels) for group in groups}
    for gradients in batches:
        for group in groups:
            total[group.name] += _contribution(group, gradients)
    return total


def _contribution(group: ChannelGroup, gradients: Gradients) -> Tensor:
    parts = []
    for member in group.members:
        weight = member.layer.weight
        if member.side != "out" or not isinstance(weight, nn.Parameter) or weight not in gradients:
            continue
        product = _per_channel(weight.detach() * gradients[weight], member)
        found = _gathered(group, member, product)
        if found is not None:
            parts.append(found.square())
    return torch.stack(parts).mean(dim=0)


def importance_of(
    groups: Sequence[ChannelGroup], criterion: Criterion, batches: Iterable[Gradients]
) -> dict[str, Tensor]:
    """Return how much each channel matters, (channels,) of each group of which that is known.

    Args:
        groups: Those whose channels may be removed.
        criterion: Which of the methods above.
        batches: Gradients, for ``taylor``; others do not look at them.
    """
    if criterion == "taylor":
        return taylor(groups, batches)
    if criterion == "bn-scale":
        known = ((group.name, scales(group)) for group in groups)
        return {name: values for name, values in known if values is not None}
    return {group.name: magnitudes(group, 1 if criterion == "l1" else 2) for group in groups}


def require_scales(network: nn.Module) -> None:
    """Refuse to rank channels by batch norms that are not there.

    Raises:
        ModelError: There is none.
    """
    if not any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        raise ModelError(
            "this network has no batch norms, so no scales of them",
            where="--importance bn-scale",
            remedy="take --importance l1, l2 or taylor",
        )


def _per_channel(values: Tensor, member: Member) -> Tensor:
    """Return sums over all but the layer's channels on the member's side."""
    if values.ndim == 1:
        return values
    if member.side == "out" or getattr(member.layer, "groups", 1) > 1:
        return values.flatten(1).sum(dim=1)
    return values.transpose(0, 1).flatten(1).sum(dim=1)


def _gathered(group: ChannelGroup, member: Member, values: Tensor) -> Tensor | None:
    """Return a layer's values, summed for each channel of the group, (channels,)."""
    if member.of_group is None:
        return None
    own = values[torch.tensor(member.channels)].float()
    return torch.zeros(group.channels).scatter_add_(0, torch.tensor(member.of_group), own)
