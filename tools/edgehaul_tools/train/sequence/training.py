"""The training of the classifier of GPS traces."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgehaul.bundle.spec import ModelSpec, OutputSpec, SequenceInput
from edgehaul.config.recipe import Recipe, SequenceRecipe
from edgehaul.errors import DatasetError
from edgehaul.motion.windows import to_tensor
from edgehaul_tools.dataset.traces import LabelledTrace
from edgehaul_tools.train.architectures.recurrent import SequenceNetwork, SequenceShape
from edgehaul_tools.train.loop.optimization import (
    EpochReport,
    Optimization,
    Progress,
    no_progress,
    seeded_torch,
)
from edgehaul_tools.train.run_directory import (
    EpochRecord,
    Fitted,
    Started,
    TrainingRun,
    keep_run,
)
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    WindowSet,
    load_windows,
    scaled_input,
)

_MEASURE = "macro_f1"
_NORMAL_SHARE = 0.5
"""Share of normal windows in what is drawn: in real traces nearly all are."""


def train_sequence(
    recipe: SequenceRecipe,
    train: Sequence[LabelledTrace],
    val: Sequence[LabelledTrace],
    out: Path,
    progress: Progress = no_progress,
) -> TrainingRun:
    """Train a classifier of windows and write its run directory.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: What is learnt from; its anomalies' labels are the classes.
        val: What the reported accuracy is measured on; may be empty.
        out: The run directory.
        progress: Called after each epoch.

    Raises:
        DatasetError: There is nothing to learn.
        SpecMismatchError: The recipe names an unknown feature.
        ModelError: The training diverged.
    """
    started = Started()
    labels = _labels(recipe, train)
    parts = {
        "train": load_windows(train, recipe, labels),
        "val": load_windows(val, recipe, labels),
    }
    if not (parts["train"].classes > 0).any():
        raise DatasetError(
            f"no trace of the training part is {recipe.window} steps long and shows an anomaly",
            remedy="label anomalies, or choose a shorter window",
        )
    spec = ModelSpec(
        task="sequence",
        input=scaled_input(recipe, parts["train"]),
        output=OutputSpec(
            head="sequence",
            labels=labels,
            score_threshold=recipe.score_threshold,
            normal_label=recipe.normal_label,
        ),
    )
    fitted = fit_sequence(recipe, spec, parts["train"], parts["val"], progress)
    counts = {name: len(part) for name, part in parts.items()}
    return keep_run(out, "sequence", spec, Recipe(sequence=recipe), fitted, counts, started)


def _labels(recipe: SequenceRecipe, traces: Sequence[LabelledTrace]) -> tuple[str, ...]:
    anomalies = {anomaly.label for trace in traces for anomaly in trace.anomalies}
    return (recipe.normal_label, *sorted(anomalies - {recipe.normal_label}))


def fit_sequence(
    recipe: SequenceRecipe,
    spec: ModelSpec,
    train: WindowSet,
    val: WindowSet,
    progress: Progress = no_progress,
) -> Fitted[SequenceNetwork]:
    """Train a classifier on windows; see ``train_sequence``."""
    inputs = _tensor(spec, train)
    with seeded_torch(recipe.seed, recipe.threads):
        shape = SequenceShape(len(recipe.features), recipe.hidden, len(spec.output.labels))
        network = SequenceNetwork(shape)
        batches = max(1, round((train.classes != UNDECIDED).sum() / recipe.optimizer.batch))
        epochs = recipe.optimizer.epochs
        optimization = Optimization(network, recipe.optimizer, batches * epochs)
        random, started_s = np.random.default_rng(recipe.seed), time.monotonic()
        history: list[EpochRecord] = []
        metrics: dict[str, float] = {}
        for epoch in range(1, epochs + 1):
            chosen = _drawn(train.classes, batches * recipe.optimizer.batch, random)
            loss = _epoch(optimization, network, inputs, train, np.array_split(chosen, batches))
            metrics = evaluate_windows(optimization.result, spec, val)
            value = metrics.get(_MEASURE)
            history.append(EpochRecord(epoch, loss, value))
            measure = "" if value is None else _MEASURE
            elapsed_s = time.monotonic() - started_s
            progress(EpochReport(epoch, epochs, loss, measure, value, elapsed_s))
    return Fitted(optimization.result, tuple(history), metrics)


def _epoch(
    optimization: Optimization[SequenceNetwork],
    network: SequenceNetwork,
    inputs: Tensor,
    train: WindowSet,
    batches: Sequence[NDArray[np.int64]],
) -> float:
    network.train()
    losses = []
    for batch in batches:
        chosen = torch.from_numpy(batch)
        classes = torch.from_numpy(train.classes[batch])
        loss = functional.cross_entropy(network(inputs[chosen]), classes)
        losses.append(optimization.step(loss))
    return float(np.mean(losses))


def _drawn(
    classes: NDArray[np.int64], count: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw windows so that half are normal and every anomaly is as frequent as the others."""
    shares = np.zeros(len(classes))
    anomalies = [c for c in np.unique(classes) if c > 0]
    for class_id in anomalies:
        of_class = classes == class_id
        shares[of_class] = (1 - _NORMAL_SHARE) / len(anomalies) / of_class.sum()
    normal = classes == 0
    shares[normal] = _NORMAL_SHARE / max(normal.sum(), 1)
    return random.choice(len(classes), size=count, p=shares / shares.sum())


def _tensor(spec: ModelSpec, windows: WindowSet) -> Tensor:
    if not isinstance(spec.input, SequenceInput):
        raise TypeError(spec.input)
    return torch.from_numpy(to_tensor(windows.features, spec.input)[0])


@torch.no_grad()
def evaluate_windows(
    network: SequenceNetwork, spec: ModelSpec, windows: WindowSet
) -> dict[str, float]:
    """Return accuracy and F1 (macro: the mean over the anomalies) of the decided windows."""
    decided = windows.classes != UNDECIDED
    if not decided.any():
        return {}
    answers = network(_tensor(spec, windows)).argmax(dim=-1).numpy()[decided]
    classes = windows.classes[decided]
    scores = {}
    for class_id, label in enumerate(spec.output.labels[1:], start=1):
        hits = float(((answers == class_id) & (classes == class_id)).sum())
        wanted, given = (classes == class_id).sum(), (answers == class_id).sum()
        if wanted + given:
            scores[f"f1_{label}"] = float(2 * hits / (wanted + given))
    mean = float(np.mean(list(scores.values()))) if scores else 0.0
    return {_MEASURE: mean, "accuracy": float((answers == classes).mean()), **scores}
