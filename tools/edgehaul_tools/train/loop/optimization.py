"""What every training shares: threads and seeds, AdamW, cosine schedule, averaged weights."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import ModelError

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
    """

    epoch: int
    epochs: int
    loss: float
    measure: str
    value: float | None
    elapsed_s: float


Progress = Callable[[EpochReport], None]


def no_progress(report: EpochReport) -> None:
    """Take a report and show nothing."""
    del report


def has_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself, which saves a training's time.

    Where torch cannot tell, the answer is no: emulated, it would be far slower.
    """
    ask = getattr(torch.cpu, "get_capabilities", None)
    known = ask() if ask else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


@contextmanager
def seeded_torch(seed: int, threads: int) -> Iterator[None]:
    """Run torch with a seed and a number of threads (0: all), and restore both afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
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
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": section.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=section.learning_rate,
        )

    @property
    def result(self) -> _Network:
        """The averaged network, in evaluation mode."""
        return self._averaged

    def step(self, loss: Tensor) -> float:
        """Learn from one batch's loss and return its value.

        Raises:
            ModelError: The loss is not a number any more.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss became {value} at step {self._step + 1} of {self._steps}",
                remedy="lower optimizer.learning_rate (a third is a good try) and check the labels",
            )
        for group in self._optimizer.param_groups:
            group["lr"] = self._section.learning_rate * self._rate()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._section.gradient_norm:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._section.gradient_norm)
        self._optimizer.step()
        self._step += 1
        self._average()
        return value

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
        new = self._network.state_dict()
        for name, kept in self._averaged.state_dict().items():
            if kept.dtype.is_floating_point:
                kept.lerp_(new[name], 1 - decay)
            else:
                kept.copy_(new[name])
