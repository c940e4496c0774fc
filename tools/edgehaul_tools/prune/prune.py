"""From a run to a pruned run: remove channels, learn again, step by step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError
from edgehaul_tools.prune.distillation import DistilledTask
from edgehaul_tools.prune.importance import Gradients
from edgehaul_tools.prune.networks import difference_of, network_of
from edgehaul_tools.prune.options import PruneOptions
from edgehaul_tools.prune.removal import (
    LayerChange,
    prune_network,
    reached_share,
    require_prunable,
)
from edgehaul_tools.prune.report import PRUNE_FILE, Cost, PruneReport
from edgehaul_tools.prune.sparsity import Zeros, download_of
from edgehaul_tools.train.architectures.complexity import measure_complexity
from edgehaul_tools.train.continued import FinishedRun, open_run_recipe
from edgehaul_tools.train.durable import write_whole
from edgehaul_tools.train.follow import follow_recipe, is_finished
from edgehaul_tools.train.loop.optimization import Progress, no_progress
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.origin import Method, Origin
from edgehaul_tools.train.run_directory import TrainingRun, load_weights, network_input_shape
from edgehaul_tools.train.start import Start, origin_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Stage:
    """One training of a pruning.

    Attributes:
        share: Share of the channels that is missing in it; 0 removes none.
        epochs: How long it learns.
        sparse_l1: Weight of the L1 norm of the scales of batch norms.
        sparsity: Share of the single weights that are zero in it.
    """

    share: float
    epochs: int
    sparse_l1: float = 0.0
    sparsity: float = 0.0


@dataclass
class _Progress:
    """What a pruning has done so far."""

    source: FinishedRun
    dense: dict[str, int] = field(default_factory=dict)
    changes: tuple[LayerChange, ...] = ()


def prune_run(
    folder: Path,
    out: Path,
    options: PruneOptions,
    progress: Progress = no_progress,
    *,
    dataset: Path | None = None,
    say: Say = lambda _line: None,
) -> PruneReport:
    """Prune a run and write a run directory that is exported as any other.

    What is learnt from is the run's own training part, and ``out`` keeps the same split.

    Args:
        folder: The run directory to prune; it is left as it is.
        out: The new run directory.
        options: How.
        progress: Called after each epoch of each step.
        dataset: Where the dataset is now, if not where the run says.
        say: Told in words what is done next.

    Raises:
        UsageError: An option is out of range, or ``out`` is there already.
        DatasetError: The dataset, or a part of it, is not there any more.
        ModelError: The folder holds no run, or one whose channels cannot be removed.
    """
    found, network = _opened(folder, out, options, dataset)
    stages, done = _stages(options, found), _Progress(found)
    shape = network_input_shape(found.run.spec)
    before = _cost(network, shape)
    run = _follow(found, done, stages, out, options, progress, say)
    pruned = network_of(FinishedRun(out, run, run.recipe, found.dataset))
    after = _cost(pruned, shape)
    report = PruneReport(
        run=str(folder),
        options=options,
        share=reached_share(done.changes),
        before=before,
        after=after,
        metrics_before=found.run.metrics,
        metrics=run.metrics,
        layers=done.changes,
        download=download_of(pruned) if options.sparsity else None,
        download_before=download_of(network_of(found)) if options.sparsity else None,
    )
    text = msgspec.json.format(msgspec.json.encode(report), indent=2)
    write_whole(out / PRUNE_FILE, text + b"\n")
    return report


def is_pruned(found: FinishedRun, out: Path, options: PruneOptions) -> bool:
    """Whether a folder holds the very run that :func:`prune_run` would write.

    Args:
        found: The run that is pruned.
        out: The run directory, which need not be there.
        options: How it is pruned.

    Raises:
        UsageError: An option is out of range.
        ModelError: The weights of the run cannot be read.
    """
    options.require_possible()
    last = _stages(options, found)[-1]
    recipe = _recipe(found.recipe, last, options)
    return is_finished(recipe, found.dataset, out, _origin(found, last, options))


def train_control(
    folder: Path,
    out: Path,
    options: PruneOptions,
    progress: Progress = no_progress,
    *,
    dataset: Path | None = None,
    say: Say = lambda _line: None,
) -> TrainingRun:
    """Train the dense network on as :func:`prune_run` does, and remove nothing.

    Epochs, rates, seeds and distillation are the same, so what a pruned run is worse by is what
    the missing channels cost.

    Raises:
        UsageError: See :func:`prune_run`, as for the others.
        DatasetError: See there.
        ModelError: See there.
    """
    found, _ = _opened(folder, out, options, dataset)
    stages = [_Stage(0.0, stage.epochs) for stage in _stages(options, found)]
    return _follow(found, _Progress(found), stages, out, options, progress, say)


def _opened(
    folder: Path, out: Path, options: PruneOptions, dataset: Path | None
) -> tuple[FinishedRun, nn.Module]:
    """Return a run and its network, or refuse what is impossible."""
    options.require_possible()
    found = open_run_recipe(folder, dataset)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "this is there already", where=out, remedy="name another folder, or remove it"
        )
    network = network_of(found)
    if options.share:
        require_prunable(network)
    return found, network


def _stages(options: PruneOptions, found: FinishedRun) -> list[_Stage]:
    """Return the trainings: a sparse one where it is asked for, then one for each step."""
    epochs = options.epochs or found.recipe.training.optimizer.epochs
    steps = options.steps
    if epochs < steps:
        raise UsageError(
            f"{epochs} epochs cannot be divided among {steps} steps",
            remedy=f"set --epochs to {steps} or more",
        )
    # The last step is the hardest, and has the epochs that are left over.
    parts = [(step + 1) / steps for step in range(steps)]
    lengths = [epochs // steps] * (steps - 1) + [epochs - epochs // steps * (steps - 1)]
    stages = [
        _Stage(options.share * part, length, sparsity=options.sparsity * part)
        for part, length in zip(parts, lengths, strict=True)
    ]
    if options.sparse_epochs:
        return [_Stage(0.0, options.sparse_epochs, options.sparse_l1), *stages]
    return stages


def _follow(
    found: FinishedRun,
    done: _Progress,
    stages: list[_Stage],
    out: Path,
    options: PruneOptions,
    progress: Progress,
    say: Say,
) -> TrainingRun:
    """Train all stages, each from the one before, the last one into ``out``."""
    with ExitStack() as stack:
        between = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for number, stage in enumerate(stages, start=1):
            say(f"step {number} of {len(stages)}: {_told(stage)}, {stage.epochs} epochs")
            into = out if number == len(stages) else between / str(number)
            start = _start(found, done, stage, options)
            recipe = _recipe(found.recipe, stage, options)
            run = follow_recipe(
                recipe, found.dataset, into, progress, start=start, split_from=found.folder
            )
            done.source = FinishedRun(into, run, run.recipe, found.dataset)
    return run


def _told(stage: _Stage) -> str:
    told = f"{stage.share:.0%} of the channels removed" if stage.share else "none removed"
    return f"{told}, {stage.sparsity:.0%} of the weights at zero" if stage.sparsity else told


def _recipe(recipe: Recipe, stage: _Stage, options: PruneOptions) -> Recipe:
    training = recipe.training
    optimizer = msgspec.structs.replace(
        training.optimizer,
        epochs=stage.epochs,
        learning_rate=training.optimizer.learning_rate * options.rate,
        batch_norm_l1=stage.sparse_l1 or training.optimizer.batch_norm_l1,
    )
    seed = training.seed if options.seed is None else options.seed
    return recipe.with_training(msgspec.structs.replace(training, optimizer=optimizer, seed=seed))


def _start(found: FinishedRun, done: _Progress, stage: _Stage, options: PruneOptions) -> Start:
    """Return what a stage begins with: the weights of the one before, without some channels."""
    source = done.source.folder

    def network(fresh: nn.Module) -> nn.Module:
        load_weights(source, fresh)
        return fresh

    zeros: list[Zeros] = []

    def task(learnt: Task[Any]) -> Task[Any]:
        if stage.share:
            _prune(found, done, learnt, stage.share, options)
        if stage.sparsity:
            zeros.append(Zeros(learnt.network, stage.sparsity))
        if not options.distill:
            return learnt
        teacher = _channels_last(network_of(found))
        return DistilledTask(learnt, teacher, options.distill, difference_of(found))

    def finish(learnt: nn.Module) -> nn.Module:
        return zeros[0].settle(learnt) if zeros else learnt

    return Start(network, task, _origin(found, stage, options), finish)


def _origin(found: FinishedRun, stage: _Stage, options: PruneOptions) -> Origin:
    before = found.run.origin.share if found.run.origin else 0.0
    share = 1 - (1 - before) * (1 - stage.share)
    how: Method = "pruned" if stage.share else "sparse" if stage.sparsity else "retrained"
    return origin_of(found.folder, found.run, how, share=share, notes=options.notes())


def _prune(
    found: FinishedRun, done: _Progress, task: Task[Any], share: float, options: PruneOptions
) -> None:
    """Remove channels of a task's network, in place."""
    batch = found.recipe.training.optimizer.batch
    done.changes = prune_network(
        task.network,
        network_input_shape(found.run.spec),
        share,
        options.ranking,
        batches=_gradients(task, batch, options.batches),
        before=done.dense,
    )
    if not done.dense:
        done.dense = {change.name: change.before for change in done.changes}
    _channels_last(task.network)


def _gradients(task: Task[Any], size: int, count: int) -> Iterator[Gradients]:
    """Yield the gradients of some training batches, in evaluation mode: statistics stay."""
    network = task.network
    training = network.training
    numbers = task.order(1)
    network.eval()
    for first in range(0, min(len(numbers), size * count), size):
        network.zero_grad()
        loss = task.loss(network, task.batch(numbers[first : first + size], 1))
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        yield {p: p.grad for p in network.parameters() if p.grad is not None}
    network.zero_grad()
    network.train(training)


def _channels_last(network: nn.Module) -> nn.Module:
    """Return a network with its memory channels last, which halves the time of a step."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's stubs miss it


def _cost(network: nn.Module, shape: tuple[int, ...]) -> Cost:
    found = measure_complexity(network, torch.zeros(shape))
    return Cost(found.parameters, found.macs)
