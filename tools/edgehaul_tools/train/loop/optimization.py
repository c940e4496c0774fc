"""The steps of a training: AdamW or SGD, warm-up and cosine, clipped, weights averaged."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgehaul.config.recipe import Multiplication
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.train.loop.divergence import broken_weight
from edgehaul_tools.train.loop.processes import processor_threads

_EPSILON = 1e-3
"""The rate falls to this share of its highest."""
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class EpochReport:
    """How far a training is.

    Attributes:
        epoch: Epochs done, from 1.
        epochs: Epochs asked for.
        loss: Mean loss of this epoch.
        measure: Name of the figure in ``value``; empty where none was taken.
        value: The figure on the validation part after this epoch.
        elapsed_s: Wall time since the start.
        figures: All figures on the validation part, by name.
        learning_rate: The rate of the epoch's last step.
        higher_is_better: Whether a larger ``value`` is a better one.
    """

    epoch: int
    epochs: int
    loss: float
    measure: str
    value: float | None
    elapsed_s: float
    figures: Mapping[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    higher_is_better: bool = True


Progress = Callable[[EpochReport], None]


class DivergedError(ModelError):
    """A loss, a gradient or a weight is no number any more."""


def no_progress(report: EpochReport) -> None:
    """Take a report and show nothing."""
    del report


def require_measured(section: OptimizerSection, samples: int) -> None:
    """Refuse to wait for a better figure on a validation part that holds nothing.

    Args:
        section: Says whether the training waits.
        samples: Those of the validation part that a figure can be taken on.

    Raises:
        UsageError: ``patience`` is set, and there are none.
    """
    if section.patience and not samples:
        raise UsageError(
            "optimizer.patience waits for a better figure on the validation part, and there is "
            "no such part",
            remedy="set split.val above 0, or optimizer.patience to 0",
        )


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself, which saves a training's time.

    Where torch cannot tell, the answer is no: emulated, it would be far slower.
    """
    ask = getattr(torch.cpu, "get_capabilities", None)
    known = ask() if ask else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def multiplies_in_bfloat16(precision: Multiplication) -> bool:
    """Return whether a training with this precision multiplies in bfloat16 here.

    The weights, their averages and the steps are float32 in any case.
    """
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16())


@contextmanager
def seeded_torch(seed: int, threads: int) -> Iterator[None]:
    """Run torch with a seed and a number of threads (0: all), and restore both afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(processor_threads(threads))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class Optimization(Generic[_Network]):
    """Steps a network along a schedule, and keeps the average of its weights.

    Args:
        network: What is trained, in place.
        section: How.
        steps: Number of steps of the whole training.
    """

    def __init__(self, network: _Network, section: OptimizerSection, steps: int) -> None:
        self._network = network
        self._section = section
        self._steps = max(steps, 1)
        self._step = 0
        self._averaged = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        self._weights = [p for p in network.parameters() if p.requires_grad]
        self._scales = [
            m.weight for m in network.modules() if isinstance(m, _BatchNorm) and m.affine
        ]
        self._optimizer = _optimizer(self._weights, section)

    @property
    def result(self) -> _Network:
        """The averaged network, in evaluation mode."""
        return self._averaged

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, loss: Tensor) -> float:
        """Learn from one batch's loss and return its value.

        Raises:
            DivergedError: The loss or its gradient is not a number any more; the weights are
                still those of the step before.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = self._section.learning_rate * self._rate()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = self._clipped_norm()
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(norm)):
            what = f"the loss became {value}"
            if math.isfinite(value):
                what = f"the gradient of the loss {value:.4g} became {norm}"
            raise DivergedError(f"{what} at step {self._step + 1} of {self._steps}")
        self._thin_out()
        self._optimizer.step()
        self._step += 1
        self._average()
        return value

    def require_sound(self, loss: Callable[[_Network], Tensor]) -> None:
        """Refuse weights that the last step drove beyond all numbers, or that answer with none.

        A step itself only shows what became of the weights before it.

        Args:
            loss: Takes a loss of the averaged network; nothing is learnt from it.

        Raises:
            DivergedError: A weight, the average of one, or the loss is not a number any more.
        """
        broken = broken_weight(self._network, self._averaged)
        if broken:
            raise DivergedError(
                f"the weights {broken} are no numbers any more after step {self._step} of "
                f"{self._steps}"
            )
        with torch.no_grad():
            value = float(loss(self._averaged))
        if not math.isfinite(value):
            raise DivergedError(f"the loss became {value} after step {self._step} of {self._steps}")

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on: tensors and primitives."""
        return {
            "step": self._step,
            "network": self._network.state_dict(),
            "averaged": self._averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self._step = state["step"]
        self._network.load_state_dict(state["network"])
        self._averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _clipped_norm(self) -> float:
        """Clip the gradients and return the norm that they had together."""
        gradients = [p.grad for p in self._weights if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if self._section.gradient_norm:
            nn.utils.clip_grads_with_norm_(self._weights, self._section.gradient_norm, norm)
        return float(norm)

    @torch.no_grad()
    def _thin_out(self) -> None:
        """Add the subgradient of the scales' L1 norm; clipping must not weaken it."""
        if self._section.batch_norm_l1:
            for scale in self._scales:
                if scale.grad is not None:
                    scale.grad.add_(scale.sign(), alpha=self._section.batch_norm_l1)

    def _rate(self) -> float:
        """Return the share of the highest rate: a linear rise, then half a cosine."""
        rise = self._section.warmup * self._steps
        if self._step < rise:
            return (self._step + 1) / (rise + 1)
        progress = (self._step - rise) / max(self._steps - rise, 1)
        return _EPSILON + (1 - _EPSILON) * 0.5 * (1 + math.cos(math.pi * progress))

    @torch.no_grad()
    def _average(self) -> None:
        # Young averages follow fast, so that the random start is soon forgotten.
        decay = min(self._section.average_decay, (1 + self._step) / (10 + self._step))
        if self._section.average_decay == 0:
            decay = 0.0
        averaged, current = [], []
        new = self._network.state_dict()
        for name, kept in self._averaged.state_dict().items():
            if kept.dtype.is_floating_point:
                averaged.append(kept)
                current.append(new[name])
            else:
                kept.copy_(new[name])
        torch._foreach_lerp_(averaged, current, 1 - decay)


def _optimizer(weights: list[nn.Parameter], section: OptimizerSection) -> torch.optim.Optimizer:
    """Return the optimizer; vectors (biases, scales of norms) do not decay."""
    groups = [
        {"params": [p for p in weights if p.ndim > 1], "weight_decay": section.weight_decay},
        {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if section.algorithm == "adamw":
        return torch.optim.AdamW(groups, lr=section.learning_rate, fused=True)
    return torch.optim.SGD(
        groups,
        lr=section.learning_rate,
        momentum=section.momentum,
        nesterov=section.momentum > 0,
        fused=True,
    )
