"""Published weights: read into a network that may have other classes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from edgehaul.errors import ModelError
from edgehaul_tools.train.damage import DAMAGE, reason_of

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Heads half-way, which published weights hold and a network need not have."""
_COUNTER = "num_batches_tracked"
"""Buffers of batch norm that no answer depends on, and that older files lack."""


def load_published(network: nn.Module, path: Path) -> tuple[str, ...]:
    """Load a state dict, such as torchvision's, into a network of the same architecture.

    The last layer is left out where the network has other classes, and learnt anew.

    Args:
        network: Its weights are set in place.
        path: A file of tensors, as ``torch.save(model.state_dict(), path)`` writes it.

    Returns:
        Names of the weights that were left out, for the operator to be told.

    Raises:
        ModelError: The file cannot be read, or is of another architecture; the network is as
            it was before.
    """
    given = _read(path)
    wanted = network.state_dict()
    given = {
        name: value
        for name, value in given.items()
        if name in wanted or not name.startswith(_AUXILIARY)
    }
    last = _last_layer(network)
    left_out = tuple(
        name
        for name, value in given.items()
        if name.rpartition(".")[0] == last and name in wanted and value.shape != wanted[name].shape
    )
    kept = {name: value for name, value in given.items() if name not in left_out}
    expected = wanted.keys() - set(left_out)
    _require_fit(kept, {name: wanted[name] for name in expected}, path)
    network.load_state_dict(kept, strict=False)
    return left_out


def _read(path: Path) -> dict[str, Tensor]:
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise ModelError(
            f"the weights cannot be read: {reason_of(error)}",
            where=path,
            remedy="name a file of tensors, as torch.save(model.state_dict(), FILE) writes it",
        ) from error
    if not isinstance(given, dict) or not all(isinstance(v, Tensor) for v in given.values()):
        raise ModelError(
            "this file holds something else than named tensors",
            where=path,
            remedy="save the model's state_dict() alone",
        )
    return given


def _last_layer(network: nn.Module) -> str:
    """Return the name of the layer that makes the logits."""
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    return names[-1] if names else ""


def _require_fit(given: dict[str, Tensor], wanted: dict[str, Tensor], path: Path) -> None:
    missing = [name for name in wanted if name not in given and not name.endswith(_COUNTER)]
    unknown = [name for name in given if name not in wanted]
    other = [name for name in given if name in wanted and given[name].shape != wanted[name].shape]
    for names, fault in (
        (missing, "lacks"),
        (unknown, "holds, which this network has not,"),
        (other, "has another shape of"),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise ModelError(
                f"the file {fault} {names[0]!r}{more}",
                where=path,
                remedy="these weights are of another network: set 'network' to theirs",
            )
