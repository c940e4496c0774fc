"""The loop of every training: epochs of batches, averaged weights, early stop, checkpoints."""

from __future__ import annotations

import inspect
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from edgehaul.config.recipe import Multiplication
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.errors import ModelError, UsageError
from edgehaul_tools.train.loop.batch_norm import share_batch_norms
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE, Checkpoints, refuse_unfinished
from edgehaul_tools.train.loop.divergence import cause_of
from edgehaul_tools.train.loop.loader import MOST_LOADERS, made_ahead
from edgehaul_tools.train.loop.optimization import (
    DivergedError,
    EpochReport,
    Optimization,
    Progress,
    multiplies_in_bfloat16,
    no_progress,
    require_measured,
    seeded_torch,
)
from edgehaul_tools.train.loop.position import Position
from edgehaul_tools.train.loop.processes import Processes, joined, processor_threads
from edgehaul_tools.train.loop.task import Batch, Task
from edgehaul_tools.train.run_directory import EpochRecord, Fitted, write_metrics

_NAMED_SAMPLES = 8
"""So many samples of a batch that diverged are named."""


@dataclass(frozen=True)
class Plan:
    """How a task is learnt.

    Attributes:
        optimizer: Steps, rates, averages, early stopping.
        seed: The same seed gives the same weights on the same machine.
        threads: Processor threads of each process; 0 takes all.
        precision: As in the recipe: ``auto``, ``float32`` or ``bfloat16``.
        folder: The run directory, for checkpoints and ``metrics.csv``; none writes nothing.
        digest: Of recipe and data (``training_digest``): refuses to resume another training.
        resume: Whether to go on from the checkpoint in ``folder``, if there is one.
        evaluate_every: Epochs between two evaluations; the last one is always evaluated, and
            with ``optimizer.patience`` each one is.
        checkpoint_s: Time between two checkpoints within an epoch; at an epoch's end a sixth of
            it is enough. It is longer where writing them would take a twentieth of the time.
    """

    optimizer: OptimizerSection
    seed: int = 0
    threads: int = 0
    precision: Multiplication = "auto"
    folder: Path | None = None
    digest: str = ""
    resume: bool = False
    evaluate_every: int = 1
    checkpoint_s: float = 60.0


@dataclass(frozen=True)
class _Taken:
    """A batch that is, or was, learnt from.

    Attributes:
        epoch: Of which epoch, from 1.
        number: Its number in the epoch, from 1.
        samples: (n,) the samples of all processes.
        batch: What the task made of those of this process.
    """

    epoch: int
    number: int
    samples: NDArray[np.int64]
    batch: Any


def fit(task: Task[Batch], plan: Plan, progress: Progress = no_progress) -> Fitted[nn.Module]:
    """Learn a task.

    Under ``torchrun`` all processes learn together, and each returns the same network.

    Args:
        task: What is learnt; its network is trained in place.
        plan: How.
        progress: Called after each epoch, by the leading process alone.

    Returns:
        A copy of the network with the averaged weights: the best ones where
        ``optimizer.patience`` is set, else the last; the figures of each epoch, and those of
        the network that is returned.

    Raises:
        UsageError: There are fewer samples than processes, nothing tells when to stop early,
            or the folder holds an unfinished training, or one that is not this.
        ModelError: The training diverged; the message names the batch and the likely cause.
        EdgeHaulError: A checkpoint cannot be written.
    """
    with seeded_torch(plan.seed, plan.threads), joined() as processes:
        fitting = _Fitting(task, plan, processes, progress)
        fitting.restore()
        return fitting.run()


class _Fitting:
    """The state of one training."""

    def __init__(
        self, task: Task[Batch], plan: Plan, processes: Processes, progress: Progress
    ) -> None:
        self._task, self._plan, self._processes = task, plan, processes
        self._progress = progress
        self._half_width = multiplies_in_bfloat16(plan.precision)
        self._samples = len(task.order(1))
        if self._samples < processes.count:
            raise UsageError(
                f"{processes.count} processes cannot share {self._samples} samples",
                remedy="add samples, or start fewer processes",
            )
        self._batches = max(1, round(self._samples / plan.optimizer.batch))
        # A batch must have a sample for each process.
        self._batches = min(self._batches, self._samples // processes.count)
        steps = self._batches * plan.optimizer.epochs
        self._optimization = Optimization(task.network, plan.optimizer, steps)
        self._network = self._wrapped()
        self._checkpoints = (
            Checkpoints(plan.folder, plan.digest, plan.checkpoint_s) if plan.folder else None
        )
        self._at = Position()
        self._started_s = time.monotonic()

    def _wrapped(self) -> nn.Module:
        """Return what the losses are taken of: the network, or all processes' copies of it."""
        if self._processes.count == 1:
            return self._task.network
        share_batch_norms(self._task.network)
        # Buffers are alike in all processes as it is. The option has had two names.
        known = inspect.signature(DistributedDataParallel).parameters
        names = ("forward_sync_buffers", "broadcast_buffers")
        option: dict[str, Any] = {next(name for name in names if name in known): False}
        return DistributedDataParallel(self._task.network, gradient_as_bucket_view=True, **option)

    def run(self) -> Fitted[nn.Module]:
        epochs = self._plan.optimizer.epochs
        loaders = min(MOST_LOADERS, processor_threads(self._plan.threads))
        self._network.train()
        with closing(made_ahead(self._make, self._jobs(), loaders)) as batches:
            first = self._at.step // self._batches + 1
            for epoch in range(first, epochs + 1):
                if self._stopped():
                    break
                self._epoch(epoch, batches)
        return self._result()

    def _jobs(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield epoch and samples of every batch that is still to come."""
        done = self._at.step
        for epoch in range(done // self._batches + 1, self._plan.optimizer.epochs + 1):
            parts = np.array_split(self._task.order(epoch), self._batches)
            skipped = max(0, done - (epoch - 1) * self._batches)
            for numbers in parts[skipped:]:
                yield epoch, numbers

    def _make(self, job: tuple[int, NDArray[np.int64]]) -> Any:  # noqa: ANN401 - the task's own batch
        epoch, numbers = job
        return self._task.batch(self._processes.slice_of(numbers), epoch)

    def _epoch(
        self, epoch: int, batches: Iterator[tuple[tuple[int, NDArray[np.int64]], Any]]
    ) -> None:
        started_s, first = time.monotonic(), self._at.step % self._batches
        learnt = 0
        for number, ((_, samples), batch) in enumerate(
            itertools.islice(batches, self._batches - first), start=first + 1
        ):
            taken = _Taken(epoch, number, samples, batch)
            self._step(taken)
            learnt += len(samples)
            if number < self._batches:
                self._keep(taken, within_epoch=True)
            else:
                took_s = time.monotonic() - started_s
                self._close(taken, learnt / max(took_s, 1e-9))

    def _step(self, taken: _Taken) -> None:
        _seed_step(self._plan.seed, self._at.step, self._processes.rank)
        samples = taken.samples
        own = len(self._processes.slice_of(samples))
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half_width):
            loss = self._task.loss(self._network, taken.batch)
        # Gradients are averaged over the processes; their slices may differ by a sample.
        loss = loss * (own * self._processes.count / len(samples))
        try:
            value = self._optimization.step(loss)
        except DivergedError as error:
            raise self._diverged(error, taken) from error
        # Of all processes: a checkpoint is the leader's, and the others go on from it, too.
        (all_loss,) = self._processes.sum(value * len(samples) / self._processes.count)
        self._at.loss_sum += all_loss
        self._at.step += 1

    def _require_sound(self, last: _Taken) -> None:
        """Refuse to measure or keep weights that the last step spoilt."""
        try:
            self._optimization.require_sound(
                lambda network: self._task.loss(network, last.batch),
            )
        except DivergedError as error:
            raise self._diverged(error, last) from error

    def _close(self, last: _Taken, samples_per_s: float) -> None:
        """End an epoch: evaluate, remember, report, keep."""
        epoch = last.epoch
        loss = self._at.loss_sum / self._samples
        self._at.loss_sum = 0.0
        evaluated = self._evaluate(last)
        value = self._at.figures.get(self._task.measure) if evaluated else None
        rate = self._optimization.learning_rate
        elapsed_s = self._at.elapsed_s + time.monotonic() - self._started_s
        record = EpochRecord(
            epoch=epoch,
            loss=loss,
            value=value,
            figures=dict(self._at.figures) if evaluated else {},
            learning_rate=rate,
            samples_per_s=round(samples_per_s, 1),
            elapsed_s=round(elapsed_s, 3),
        )
        self._at.history.append(record)
        self._keep(last, within_epoch=False)
        if self._processes.leads:
            if self._plan.folder:
                write_metrics(self._plan.folder, self._at.history)
            measure = self._task.measure if value is not None else ""
            epochs, upwards = self._plan.optimizer.epochs, self._task.higher_is_better
            figures = record.figures
            self._progress(
                EpochReport(epoch, epochs, loss, measure, value, elapsed_s, figures, rate, upwards)
            )

    def _evaluate(self, last: _Taken) -> bool:
        """Take the figures, where it is time to; only the leader does, and tells the others."""
        epoch = last.epoch
        section, every = self._plan.optimizer, self._plan.evaluate_every
        if not (section.patience or epoch % every == 0 or epoch == section.epochs):
            return False
        figures: dict[str, float] = {}
        if self._processes.leads:
            self._require_sound(last)
            with torch.no_grad():
                found = self._task.evaluate(self._optimization.result)
            figures = {name: v for name, v in found.items() if math.isfinite(v)}
        told = self._processes.from_leader(msgspec.json.encode(figures))
        self._at.figures = msgspec.json.decode(told, type=dict[str, float])
        if section.patience:
            self._remember_best(epoch)
        return bool(self._at.figures)

    def _remember_best(self, epoch: int) -> None:
        value = self._at.figures.get(self._task.measure)
        if value is None:
            require_measured(self._plan.optimizer, 0)
            return
        best = self._at.best_figures.get(self._task.measure)
        sign = 1 if self._task.higher_is_better else -1
        if best is None or sign * value > sign * best:
            self._at.best_figures, self._at.best_epoch = self._at.figures, epoch
            weights = self._optimization.result.state_dict()
            self._at.best_weights = {name: v.clone() for name, v in weights.items()}

    def _diverged(self, error: DivergedError, taken: _Taken) -> ModelError:
        """Return what to tell where a loss or a weight is no number."""
        cause = "see the error of the first process"
        if self._processes.leads:
            network = self._task.network
            # Alone: other processes would have to take part in what goes through their copies.
            again = self._optimization.result if self._processes.count > 1 else network
            cause = cause_of(again, taken.batch, lambda: self._task.loss(again, taken.batch))
        place = f"epoch {taken.epoch}, batch {taken.number} of {self._batches}"
        kept = ""
        if self._plan.folder and (self._plan.folder / CHECKPOINT_FILE).exists():
            kept = f"; {CHECKPOINT_FILE} still holds good weights, from which --resume goes on"
        place += f", samples {_named(self._task, taken.samples)}"
        return ModelError(
            f"{error.message} ({place}): {cause}{kept}",
            where=self._plan.folder or "",
            remedy="look at these samples, or lower optimizer.learning_rate (try a third)",
        )

    def restore(self) -> None:
        """Go on from the checkpoint, if there is one; the leader's, where several train."""
        if self._checkpoints is None or self._plan.folder is None:
            return
        refuse_unfinished(self._plan.folder, resume=self._plan.resume)
        if not self._plan.resume:
            return
        content = self._checkpoints.read() if self._processes.leads else b""
        content = self._processes.from_leader(content)
        if content:
            state = self._checkpoints.decode(content)
            self._optimization.restore(state)
            self._at = Position.restored(state)

    def _keep(self, last: _Taken, *, within_epoch: bool) -> None:
        """Write a checkpoint where it is time to."""
        checkpoints = self._checkpoints
        if checkpoints is None or not self._processes.leads:
            return
        if checkpoints.due(within_epoch=within_epoch):
            self._require_sound(last)
            elapsed_s = self._at.elapsed_s + time.monotonic() - self._started_s
            checkpoints.write({**self._optimization.state(), **self._at.state(elapsed_s)})

    def _stopped(self) -> bool:
        patience = self._plan.optimizer.patience
        return bool(patience) and len(self._at.history) - self._at.best_epoch >= patience

    def _result(self) -> Fitted[nn.Module]:
        network = self._optimization.result
        figures = self._at.figures
        if self._at.best_weights is not None:
            network.load_state_dict(self._at.best_weights)
            figures = self._at.best_figures
        return Fitted(network, tuple(self._at.history), dict(figures))


def _seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch for one step: what is random in it depends on nothing that was before."""
    mixed = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    torch.default_generator.manual_seed(int(mixed[0] >> 1))


def _named(task: Task[Batch], samples: NDArray[np.int64]) -> str:
    """Return the numbers of a batch's samples, or their names where the task knows them."""
    name = getattr(task, "sample_name", str)
    names = ", ".join(name(int(sample)) for sample in samples[:_NAMED_SAMPLES])
    return (
        f"{names} and {len(samples) - _NAMED_SAMPLES} more"
        if len(samples) > _NAMED_SAMPLES
        else names
    )
