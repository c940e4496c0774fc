"""The run directory: what a training leaves behind, and what export starts from.

``run.json`` says what was trained and how; ``weights.pt`` holds tensors alone and is read
with ``weights_only=True``, so that a run from elsewhere cannot execute anything.
"""

from __future__ import annotations

import csv
import hashlib
import io
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from edgehaul import __version__
from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import Recipe
from edgehaul.decoding import UNREADABLE_JSON
from edgehaul.errors import ModelError
from edgehaul_tools.train.damage import DAMAGE, reason_of
from edgehaul_tools.train.durable import remove_durably, tensors_at_hand, write_whole
from edgehaul_tools.train.kept_split import NO_SPLIT, KeptSplit
from edgehaul_tools.train.loop.checkpoint import CHECKPOINT_FILE
from edgehaul_tools.train.loop.optimization import has_bfloat16
from edgehaul_tools.train.loop.processes import processor_threads, this_process
from edgehaul_tools.train.narrowed import ShapeError, answer_shapes, narrow
from edgehaul_tools.train.origin import Origin
from edgehaul_tools.train.qat.ranges import LearntRange

Network = TypeVar("Network", bound=nn.Module)

RUN_FILE = "run.json"
WEIGHTS_FILE = "weights.pt"
METRICS_FILE = "metrics.csv"
Kind = Literal["detector", "classifier", "anomaly", "generator", "sequence"]
_UNREADABLE = (OSError, *UNREADABLE_JSON)


class EpochRecord(msgspec.Struct, frozen=True):
    """One epoch's figures.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean loss over the samples.
        value: The figure that decides which weights are best; none where none was taken.
        figures: All figures on the validation part, by name.
        learning_rate: The rate of the last step.
        samples_per_s: Samples learnt from in a second, without the evaluation.
        elapsed_s: Wall time since the training began, pauses left out.
    """

    epoch: int
    loss: float
    value: float | None = None
    figures: dict[str, float] = {}
    learning_rate: float = 0.0
    samples_per_s: float = 0.0
    elapsed_s: float = 0.0


@dataclass(frozen=True)
class Fitted(Generic[Network]):
    """A trained network and how it came about.

    Attributes:
        network: The network with the averaged weights, in evaluation mode.
        history: Figures of each epoch.
        metrics: Figures on the validation part; empty without one.
        ranges: Between which values its tensors are rounded in int8, where that was learnt.
    """

    network: Network
    history: tuple[EpochRecord, ...]
    metrics: dict[str, float]
    ranges: tuple[LearntRange, ...] = ()


@dataclass(frozen=True)
class Started:
    """When a training began, by the wall's and the processor's clock."""

    wall_s: float = field(default_factory=time.monotonic)
    cpu_s: float = field(default_factory=time.process_time)


class TrainingRun(msgspec.Struct, frozen=True, kw_only=True):
    """A finished training, as ``run.json`` says.

    Attributes:
        kind: What was trained.
        spec: What goes into the model and comes out of it.
        recipe: The recipe that was followed; its ``dataset`` is what was learnt from.
        metrics: Figures on the validation part, by name.
        history: Figures of each epoch.
        counts: Number of samples by part.
        parameters: Number of weights.
        wall_s: Wall time of the training.
        cpu_s: Processor time of the training.
        torch_version: Version of torch.
        environment: What it was trained on: versions, processor, threads, processes.
        origin: What it began with, where that was no random network.
        ranges: Between which values the tensors of the network are rounded in int8, where that
            was learnt with the weights.
    """

    kind: Kind
    spec: ModelSpec
    recipe: Recipe
    metrics: dict[str, float]
    history: tuple[EpochRecord, ...]
    counts: dict[str, int]
    parameters: int
    wall_s: float
    cpu_s: float
    torch_version: str
    environment: dict[str, str] = {}
    origin: Origin | None = None
    ranges: tuple[LearntRange, ...] = ()


def write_run(
    folder: Path, run: TrainingRun, network: nn.Module, split: KeptSplit = NO_SPLIT
) -> None:
    """Write a run directory; what stood there under the same names is replaced.

    While it is replaced there is no ``run.json``: no model is ever beside another one's split.
    """
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    text = msgspec.json.format(msgspec.json.encode(run), indent=2)
    with tensors_at_hand(folder / WEIGHTS_FILE, weights):
        remove_durably(folder / RUN_FILE)
        split.write(folder)
    write_whole(folder / RUN_FILE, text + b"\n")


def write_metrics(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Write ``metrics.csv``: one line for each epoch, and a column for each figure."""
    names = list(dict.fromkeys(name for record in history for name in record.figures))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("epoch", "loss", "learning_rate", "samples_per_s", "elapsed_s", *names))
    for at in history:
        figures = (at.figures.get(name, "") for name in names)
        writer.writerow(
            (at.epoch, at.loss, at.learning_rate, at.samples_per_s, at.elapsed_s, *figures)
        )
    write_whole(folder / METRICS_FILE, stream.getvalue().encode())


def keep_run(  # noqa: PLR0913, PLR0917 - all that a run is
    folder: Path,
    kind: Kind,
    spec: ModelSpec,
    recipe: Recipe,
    fitted: Fitted[Network],
    counts: dict[str, int],
    started: Started,
    split: KeptSplit = NO_SPLIT,
    origin: Origin | None = None,
) -> TrainingRun:
    """Write a finished training as a run directory and return what ``run.json`` says."""
    run = TrainingRun(
        kind=kind,
        spec=spec,
        recipe=recipe,
        metrics=fitted.metrics,
        history=fitted.history,
        counts=counts,
        parameters=sum(p.numel() for p in fitted.network.parameters()),
        wall_s=round(time.monotonic() - started.wall_s, 2),
        cpu_s=round(time.process_time() - started.cpu_s, 2),
        torch_version=str(torch.__version__),
        environment=environment(recipe.training.threads),
        origin=origin,
        ranges=fitted.ranges,
    )
    if this_process().leads:
        from edgehaul_tools.train.curves import write_curves  # noqa: PLC0415 - matplotlib, for this alone

        write_curves(folder, fitted.history)
        write_run(folder, run, fitted.network, split)
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    return run


def environment(threads: int) -> dict[str, str]:
    """Return what may explain why a training went otherwise elsewhere.

    Args:
        threads: As in the recipe; 0 takes all.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "edgehaul": __version__,
        "platform": platform.platform(),
        "processor": str(capabilities.get("cpu_name") or platform.machine()),
        "threads": str(processor_threads(threads)),
        "processes": str(this_process().count),
        "bfloat16": str(has_bfloat16()).lower(),
    }


def read_run(folder: Path) -> TrainingRun:
    """Read ``run.json``.

    Raises:
        ModelError: The folder holds no run, or one that cannot be read.
    """
    path = folder / RUN_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingRun)
    except FileNotFoundError:
        raise ModelError(
            "this folder holds no training run",
            where=folder,
            remedy="name the folder that 'edgehaul train RECIPE --out FOLDER' wrote",
        ) from None
    except _UNREADABLE as error:
        raise ModelError(
            f"the run cannot be read: {error}", where=path, remedy="train again"
        ) from error


def load_weights(folder: Path, network: nn.Module) -> None:
    """Load ``weights.pt`` into ``network``.

    Where the run says that it was pruned, layers of the network become as narrow as the weights.

    Args:
        folder: The run directory.
        network: As the recipe builds it.

    Raises:
        ModelError: The weights are missing, damaged, or of another network.
    """
    path = folder / WEIGHTS_FILE
    run = read_run(folder) if (folder / RUN_FILE).exists() else None
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        if run is None or run.origin is None or not run.origin.share:
            network.load_state_dict(weights)
        else:
            _load_narrowed(network, weights, run.spec)
    except DAMAGE as error:
        raise ModelError(
            f"the weights cannot be loaded: {reason_of(error)}", where=path, remedy="train again"
        ) from error


def _load_narrowed(network: nn.Module, weights: dict[str, Tensor], spec: ModelSpec) -> None:
    """Load weights with fewer channels, and see that what remains still fits together."""
    shape = network_input_shape(spec)
    wanted = answer_shapes(network, shape)
    narrow(network, weights)
    found = answer_shapes(network, shape)
    if found != wanted:
        raise ShapeError(f"the network answers with {found} in place of {wanted}")


def network_input_shape(spec: ModelSpec) -> tuple[int, ...]:
    """Return the shape of one input of the bare network: (1, 3, H, W), or (1, steps, features)."""
    if isinstance(spec.input, ImageInput):
        return (1, 3, spec.input.height, spec.input.width)
    return spec.input.tensor_shape


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of ``weights.pt``.

    Raises:
        ModelError: The weights cannot be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(
            f"the weights cannot be read: {error.strerror}", where=path, remedy="train again"
        ) from error
