"""What the training loop costs beside the learning itself.

The bare loop does what any training must, and nothing else: forward, loss, backward, step, on
batches that lie ready in memory. The other side is the loop of ``edgehaul train`` as it is,
which makes its batches, varies them, clips, averages weights and looks for divergence. Both
take turns, an epoch each, so that the machine's moods fall on both.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from edgehaul.bundle.spec import ImageInput
from edgehaul.config.recipe import DetectorRecipe
from edgehaul.config.recipe_sections import OptimizerSection
from edgehaul.virtual.conveyor import PARCEL_LABELS
from edgehaul_tools.dataset.virtual import generate_conveyor_dataset
from edgehaul_tools.train.architectures.detector import DetectorNetwork, shape_of
from edgehaul_tools.train.detector.task import DetectorTask
from edgehaul_tools.train.detector.training import detector_spec
from edgehaul_tools.train.loop.fit import Plan, fit
from edgehaul_tools.train.loop.optimization import multiplies_in_bfloat16
from edgehaul_tools.train.loop.processes import processor_threads
from edgehaul_tools.train.pictures.canvases import load_canvases

ROUNDS = 5
PICTURES = 256
_BATCH = 8


class TrainingSpeed(msgspec.Struct, frozen=True):
    """How fast a training is beside a bare loop.

    Attributes:
        network: What was trained.
        pictures: Pictures in an epoch.
        batch: Pictures in a step.
        bare_per_s: Pictures a second of the bare loop, median over the rounds.
        trained_per_s: The same of ``edgehaul train``.
        ratio: Median over the rounds of the second by the first.
        ratios: That of each round.
    """

    network: str
    pictures: int
    batch: int
    bare_per_s: float
    trained_per_s: float
    ratio: float
    ratios: tuple[float, ...]


def measure_training(
    recipe: DetectorRecipe, pictures: int = PICTURES, rounds: int = ROUNDS
) -> TrainingSpeed:
    """Measure the training of a detector on virtual parcels.

    Args:
        recipe: Size, canvas, variation and precision; its number of epochs does not matter.
        pictures: Pictures in an epoch.
        rounds: Epochs of each side.
    """
    task = _task(recipe, pictures)
    numbers = np.array_split(task.order(1), pictures // _BATCH)
    ready = [task.batch(part, 1) for part in numbers]
    half_width = multiplies_in_bfloat16(recipe.precision)
    start = copy.deepcopy(task.network.state_dict())
    bare, trained = [], []
    threads = torch.get_num_threads()
    torch.set_num_threads(processor_threads(recipe.threads))
    try:
        for _ in range(rounds + 1):
            task.network.load_state_dict(start)
            bare.append(_bare_epoch(task, ready, pictures, half_width=half_width))
            task.network.load_state_dict(start)
            trained.append(_trained_epoch(task, recipe))
    finally:
        torch.set_num_threads(threads)
    bare, trained = bare[1:], trained[1:]  # the first round warms up
    ratios = tuple(round(b / a, 4) for a, b in zip(bare, trained, strict=True))
    return TrainingSpeed(
        network=f"detector_{recipe.size}",
        pictures=pictures,
        batch=_BATCH,
        bare_per_s=statistics.median(bare),
        trained_per_s=statistics.median(trained),
        ratio=statistics.median(ratios),
        ratios=ratios,
    )


def _task(recipe: DetectorRecipe, pictures: int) -> DetectorTask:
    spec = detector_spec(recipe, PARCEL_LABELS)
    if not isinstance(spec.input, ImageInput):
        raise TypeError(spec.input)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = DetectorNetwork(shape_of(recipe, len(PARCEL_LABELS)))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs miss it
    with tempfile.TemporaryDirectory() as folder:
        dataset = generate_conveyor_dataset(Path(folder) / "parcels", pictures, recipe.seed)
        parcels = load_canvases(dataset, spec.input)
        nothing = load_canvases(dataset.subset(()), spec.input)
        # Kept in memory: the files are gone afterwards.
        return DetectorTask(network, recipe, spec, parcels, nothing)


def _bare_epoch(
    task: DetectorTask, batches: list[Any], pictures: int, *, half_width: bool
) -> float:
    """Return pictures a second of the least that any training does."""
    network: nn.Module = task.network.train()
    # Fused, as the other side's: what it saves is none of the loop's merit.
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    started_s = time.perf_counter()
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=half_width):
            loss = task.loss(network, batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
    return pictures / (time.perf_counter() - started_s)


def _trained_epoch(task: DetectorTask, recipe: DetectorRecipe) -> float:
    """Return pictures a second of one epoch by the loop of ``edgehaul train``."""
    section = OptimizerSection(epochs=1, batch=_BATCH, learning_rate=1e-3)
    plan = Plan(section, recipe.seed, recipe.threads, recipe.precision)
    (epoch,) = fit(task, plan).history
    return epoch.samples_per_s
