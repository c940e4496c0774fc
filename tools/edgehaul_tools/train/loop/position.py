"""Where a training is: what a checkpoint holds beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from torch import Tensor

from edgehaul_tools.train.run_directory import EpochRecord


@dataclass
class Position:
    """Where a training is.

    Attributes:
        step: Steps done.
        loss_sum: Sum of the losses of this epoch's samples so far, over all processes.
        history: Figures of the epochs that are done.
        figures: Those of the last evaluation.
        best_figures: Those of the best one; kept where the training may stop early.
        best_weights: The averaged weights of that epoch.
        best_epoch: Its number.
        elapsed_s: Wall time before the last start, pauses left out.
    """

    step: int = 0
    loss_sum: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    best_figures: dict[str, float] = field(default_factory=dict)
    best_weights: dict[str, Tensor] | None = None
    best_epoch: int = 0
    elapsed_s: float = 0.0

    def state(self, elapsed_s: float) -> dict[str, Any]:
        """Return it as tensors and primitives."""
        return {
            "steps": self.step,
            "loss_sum": self.loss_sum,
            "history": msgspec.json.encode(self.history).decode(),
            "figures": self.figures,
            "best_figures": self.best_figures,
            "best_weights": self.best_weights,
            "best_epoch": self.best_epoch,
            "elapsed_s": elapsed_s,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """Return what :meth:`state` was taken of."""
        return cls(
            step=state["steps"],
            loss_sum=state["loss_sum"],
            history=msgspec.json.decode(state["history"], type=list[EpochRecord]),
            figures=state["figures"],
            best_figures=state["best_figures"],
            best_weights=state["best_weights"],
            best_epoch=state["best_epoch"],
            elapsed_s=state["elapsed_s"],
        )
