"""What a training begins with: the recipe's random network, or one that has learnt already.

Pruning and quantization-aware training are trainings of a recipe as any other. They differ in
the network that is begun with, in the loss (distillation), and in what is kept at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from torch import nn

from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import Progress
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.origin import Method, Origin
from edgehaul_tools.train.qat.ranges import LearntRange
from edgehaul_tools.train.run_directory import Fitted, TrainingRun, weights_digest

_Given = TypeVar("_Given")


def _as_it_is(given: _Given) -> _Given:
    return given


def _none(network: nn.Module) -> tuple[LearntRange, ...]:
    del network
    return ()


@dataclass(frozen=True)
class Start:
    """What a training begins with, in place of the recipe's random network.

    Attributes:
        network: Given the network that the recipe builds, returns the one to train: of the same
            class, with weights loaded, channels removed or layers replaced. Called with torch
            seeded, before the network's memory is put channels last.
        task: Wraps the task, whose network is the one to train: for another loss.
        origin: Is kept in ``run.json``, and tells two trainings apart that are to go on.
        finish: Given the trained network, in evaluation mode, returns the one to keep; its
            figures are those of the one before.
        ranges: Given the trained network, returns the ranges that it has learnt for int8.
    """

    network: Callable[[nn.Module], nn.Module] = _as_it_is
    task: Callable[[Task[Any]], Task[Any]] = _as_it_is
    origin: Origin | None = None
    finish: Callable[[nn.Module], nn.Module] = _as_it_is
    ranges: Callable[[nn.Module], tuple[LearntRange, ...]] = _none

    def digested(self) -> Iterator[bytes]:
        """Yield what makes a training another one than the recipe's; nothing if it is that."""
        if self.origin is not None:
            yield msgspec.json.encode(self.origin)

    def fit(self, task: Task[Any], plan: Plan, progress: Progress) -> Fitted[nn.Module]:
        """Learn a task; see :func:`~edgehaul_tools.train.loop.fit.fit`."""
        fitted = fit(self.task(task), plan, progress)
        ranges = self.ranges(fitted.network)
        return Fitted(self.finish(fitted.network), fitted.history, fitted.metrics, ranges)


AFRESH = Start()
"""A training begins as its recipe says."""


def origin_of(
    folder: Path,
    run: TrainingRun,
    how: Method,
    *,
    share: float | None = None,
    notes: dict[str, str] | None = None,
) -> Origin:
    """Return the origin of what begins with a run's weights.

    Args:
        folder: The run directory.
        run: What its ``run.json`` says.
        how: What is done to its network.
        share: Share of the channels that will be missing then; None leaves them as they are in
            the run, which may be pruned itself.
        notes: How it is done.

    Raises:
        ModelError: The weights cannot be read.
    """
    before = run.origin.share if run.origin else 0.0
    return Origin(
        how=how,
        run=folder.resolve().name,
        weights_sha256=weights_digest(folder),
        share=before if share is None else share,
        notes=notes or {},
    )
