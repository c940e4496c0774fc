"""From a run to one whose network has learnt with int8 in the loop.

A trained network goes on learning for a while, at a lower rate, on the very pictures that it
learnt from, with weights and values rounded as int8 rounds them. What is kept is a plain float
network as before, and the ranges between which its values were rounded: the exporter writes them
into the model, and the quantizer takes them in place of measured ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError
from edgehaul_tools.train.continued import FinishedRun
from edgehaul_tools.train.follow import follow_recipe, is_finished
from edgehaul_tools.train.loop.optimization import Progress, no_progress, seeded_torch
from edgehaul_tools.train.loop.processes import this_process
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.origin import Origin
from edgehaul_tools.train.qat.attach import CHILD, FakeQuantization, attach
from edgehaul_tools.train.qat.calls import recorded_calls
from edgehaul_tools.train.qat.ranges import LearntRange
from edgehaul_tools.train.run_directory import TrainingRun, load_weights
from edgehaul_tools.train.start import Start, origin_of

_MEASURED = 512
"""So many samples of the training part, varied as in the training, give the first ranges."""
_SHARE_OF_EPOCHS = 0.25
_SHARE_OF_RATE = 0.1
"""Of the run's own: it has learnt its task, and has to get used to the rounding alone."""
_KINDS = frozenset({"detector", "classifier", "anomaly"})


@dataclass(frozen=True)
class Int8:
    """The form of int8 that is learnt for.

    Attributes:
        weight_bits: 8, or 7 for boxes whose products overflow.
        per_channel: Whether each channel's weights have a step of their own; some integer
            kernels know one step for a layer alone.
    """

    weight_bits: int = 8
    per_channel: bool = True


@dataclass(frozen=True)
class Course:
    """For how long is learnt, and how.

    Attributes:
        epochs: Passes over the training part; None takes a quarter of the run's.
        learning_rate: The highest rate; None takes a tenth of the run's.
        notes: What else tells two such trainings apart, by name.
    """

    epochs: int | None = None
    learning_rate: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


BRIEF = Course()
Taught = Callable[[Task[Any], nn.Module], Task[Any]]
"""Wraps a task so that it is learnt from a teacher's answers, too: of the task and the teacher."""


def _by_labels(task: Task[Any], teacher: nn.Module) -> Task[Any]:
    del teacher
    return task


def learn_rounded(
    given: FinishedRun,
    out: Path,
    form: Int8,
    course: Course = BRIEF,
    *,
    progress: Progress = no_progress,
    taught: Taught = _by_labels,
) -> TrainingRun:
    """Train a run's network on with the rounding of int8, and write another run directory.

    Args:
        given: The run; its training part is learnt from, and its split is kept.
        out: The run directory to write.
        form: What is learnt for.
        course: For how long, and how.
        progress: Called after each epoch.
        taught: Lets the float network teach; without it the labels alone do.

    Raises:
        UsageError: The run is of a kind that int8 runs without any training, several processes
            train, or ``out`` is the run itself or holds an unfinished training.
        DatasetError: The dataset is not the one that the run learnt from.
        ModelError: The run cannot be read, or the training diverged.
    """
    require_learnable(given)
    _require_other(given, out)
    rounding = _Rounding(given, form, taught)
    start = Start(
        network=rounding.begin,
        task=rounding.measure,
        origin=_origin(given, form, course),
        finish=rounding.finish,
        ranges=learnt_by,
    )
    return follow_recipe(
        _recipe(given, course), given.dataset, out, progress, start=start, split_from=given.folder
    )


def has_learnt(given: FinishedRun, out: Path, form: Int8, course: Course = BRIEF) -> bool:
    """Whether a folder holds the very run that :func:`learn_rounded` would write.

    Args:
        given: The run that is begun with.
        out: The run directory, which need not be there.
        form: What is learnt for.
        course: For how long, and how.

    Raises:
        ModelError: The weights of the run cannot be read.
    """
    origin = _origin(given, form, course)
    return is_finished(_recipe(given, course), given.dataset, out, origin)


def _recipe(given: FinishedRun, course: Course) -> Recipe:
    training = given.recipe.training
    own = training.optimizer
    optimizer = msgspec.structs.replace(
        own,
        epochs=course.epochs or max(1, round(_SHARE_OF_EPOCHS * own.epochs)),
        learning_rate=course.learning_rate or _SHARE_OF_RATE * own.learning_rate,
        batch_norm_l1=0.0,
    )
    # Half-width floats round more coarsely than int8 does.
    return given.recipe.with_training(
        msgspec.structs.replace(training, optimizer=optimizer, precision="float32")
    )


def _origin(given: FinishedRun, form: Int8, course: Course) -> Origin:
    notes = {
        "weight_bits": str(form.weight_bits),
        "weights": "per channel" if form.per_channel else "per tensor",
        **course.notes,
    }
    return origin_of(given.folder, given.run, "quantization-aware", notes=notes)


def learnt_by(network: nn.Module) -> tuple[LearntRange, ...]:
    """Return the ranges that a network with the rounding in it has learnt."""
    return _fake_of(network).ranges()


class _Rounding:
    """Puts the rounding into a run's network, and takes it out again."""

    def __init__(self, given: FinishedRun, form: Int8, taught: Taught) -> None:
        self._given, self._form, self._taught = given, form, taught
        self._plain: nn.Module | None = None

    def begin(self, fresh: nn.Module) -> nn.Module:
        load_weights(self._given.folder, fresh)
        self._plain = copy.deepcopy(fresh).eval()
        canvas = self._given.run.spec.input
        if not isinstance(canvas, ImageInput):
            raise TypeError(canvas)
        calls = recorded_calls(self._plain, torch.zeros(1, 3, canvas.height, canvas.width))
        attach(fresh, calls, self._form.weight_bits, per_channel=self._form.per_channel)
        return fresh

    def measure(self, task: Task[Any]) -> Task[Any]:
        """Give the rounding its first ranges: those of some batches."""
        training = self._given.recipe.training
        numbers = task.order(1)[:_MEASURED]
        parts = np.array_split(numbers, max(1, round(len(numbers) / training.optimizer.batch)))
        network = task.network.eval()
        with (
            seeded_torch(training.seed, training.threads),
            torch.no_grad(),
            _fake_of(network).measuring(),
        ):
            for part in parts:
                task.loss(network, task.batch(part, 1))
        return self._taught(task, copy.deepcopy(self._float()))

    def finish(self, trained: nn.Module) -> nn.Module:
        weights = trained.state_dict()
        kept = {n: value for n, value in weights.items() if not n.startswith(f"{CHILD}.")}
        network = self._float()
        network.load_state_dict(kept)
        return network

    def _float(self) -> nn.Module:
        """Return the run's network without the rounding, as it was begun with."""
        if self._plain is None:
            raise TypeError(self._plain)
        return self._plain


def _fake_of(network: nn.Module) -> FakeQuantization:
    fake = network.get_submodule(CHILD)
    if not isinstance(fake, FakeQuantization):
        raise TypeError(fake)
    return fake


def require_learnable(given: FinishedRun) -> None:
    """Refuse a run whose network cannot learn with int8 in the loop.

    Raises:
        UsageError: It is of a kind that int8 runs without any training, has learnt so before, or
            several processes train.
    """
    kind = given.run.kind
    if kind == "sequence":
        raise UsageError(
            "a model of series needs no training for int8: its products are quantized as they come",
            where=given.folder,
            remedy="run `edgehaul export`, and `edgehaul quantize` on what it writes",
        )
    if kind not in _KINDS:
        raise UsageError(
            f"a {kind} does not run on a box",
            where=given.folder,
            remedy="name the run of a detector, a classifier or an anomaly model",
        )
    if given.run.ranges:
        raise UsageError(
            "this run has learnt with int8 in the loop already",
            where=given.folder,
            remedy="start from the float run that it is from",
        )
    if this_process().count > 1:
        raise UsageError(
            "several processes cannot train with int8 in the loop",
            remedy="start one, without torchrun",
        )


def _require_other(given: FinishedRun, out: Path) -> None:
    if out.resolve() == given.folder.resolve():
        raise UsageError(
            "the float run would be replaced, which one may want to go back to",
            where=out,
            remedy="name another folder with --out",
        )
