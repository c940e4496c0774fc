"""Gives the networks weights that mean something, in a minute or two on two cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.bench.zoo.networks import (
    FEATURES,
    STRIDES,
    WINDOW,
    GridDetector,
)
from edgehaul_tools.bench.zoo.samples import Samples, mosaics, scenes, waves

PICTURE_PX, SCENE_PX = 64, 160
_PURITY = 0.85
_DETECTOR_SIZES_PX = (36, 60)
"""Up to these sizes objects are found on the first and second grid."""
_FOCUS = 2.0
_BOX_WEIGHT = 2.0
Loss = Callable[[nn.Module, Samples], Tensor]


@dataclass(frozen=True)
class Lesson:
    """How one kind of network learns.

    Attributes:
        batch: Makes a batch.
        loss: Of a batch.
        steps: Number of batches.
        rate: Largest step width of AdamW.
    """

    batch: Callable[[np.random.Generator], Samples]
    loss: Loss
    steps: int
    rate: float


def learn(network: nn.Module, lesson: Lesson, seed: int, steps: int | None = None) -> float:
    """Train a network with one rising and falling step width (Smith 2018, arXiv:1803.09820).

    Args:
        network: Changed in place, and left in evaluation mode.
        lesson: What and how.
        seed: Of the batches.
        steps: Other than the lesson's number of them.

    Returns:
        Mean loss of the last batches.
    """
    rng = np.random.default_rng(seed)
    count = steps if steps is not None else lesson.steps
    optimizer = torch.optim.AdamW(network.parameters(), lr=lesson.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lesson.rate, total_steps=count)
    losses = []
    network.train()
    for _ in range(count):
        loss = lesson.loss(network, lesson.batch(rng))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    network.eval()
    return float(np.mean(losses[-10:]))


def _class_loss(network: nn.Module, samples: Samples) -> Tensor:
    logits = network(torch.from_numpy(samples.tensors))
    return functional.cross_entropy(logits, torch.from_numpy(samples.classes), label_smoothing=0.05)


def _detector_loss(network: nn.Module, samples: Samples) -> Tensor:
    """Focal loss of all cells (Lin et al. 2017) and the sides' errors of those in an object."""
    assert isinstance(network, GridDetector)  # noqa: S101 - the only one with this lesson
    total, cells = torch.zeros(()), 0
    grids = network.raw(torch.from_numpy(samples.tensors))
    for level, (sides, logits) in enumerate(grids):
        scores, wanted, inside = torch.zeros_like(logits), torch.zeros_like(sides), []
        for picture, level_cells in _cells(samples, level, logits.shape[2]):
            row, column, label, distances = level_cells
            scores[picture, label, row, column] = 1.0
            wanted[picture, :, row, column] = torch.tensor(distances)
            inside.append((picture, row, column))
        total = total + _focal(logits, scores)
        if inside:
            p, r, c = (list(axis) for axis in zip(*inside, strict=True))
            error = functional.smooth_l1_loss(
                sides[p, :, r, c].log1p(), wanted[p, :, r, c].log1p(), reduction="sum", beta=0.1
            )
            total, cells = total + _BOX_WEIGHT * error, cells + len(inside)
    return total / max(cells, 1)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    error = (wanted - logits.sigmoid()).abs().detach() ** _FOCUS
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (error * plain).sum()


_Cell = tuple[int, int, int, tuple[float, float, float, float]]


def _cells(samples: Samples, level: int, rows: int) -> Iterator[tuple[int, _Cell]]:
    """Yield the cells around each object's centre on its grid, with class and sides in cells."""
    stride = STRIDES[level]
    for picture, objects in enumerate(samples.objects):
        for box, label in zip(objects.boxes.tolist(), objects.class_ids.tolist(), strict=True):
            if int(np.searchsorted(_DETECTOR_SIZES_PX, box[2] - box[0])) != level:
                continue
            x1, y1, x2, y2 = (v / stride for v in box)
            reach = min(1.0, (x2 - x1) / 4)
            for row, column in np.ndindex(rows, rows):
                x, y = column + 0.5, row + 0.5
                if max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) <= reach:
                    yield picture, (row, column, label, (x - x1, y - y1, x2 - x, y2 - y))


def picture_lesson(steps: int = 120, rate: float = 2e-3, batch: int = 16) -> Lesson:
    """Return how classifiers learn: on small mosaics."""
    return Lesson(
        lambda rng: mosaics(batch, PICTURE_PX, _PURITY, "learn", rng), _class_loss, steps, rate
    )


def scene_lesson(steps: int = 300, rate: float = 3e-3, batch: int = 8) -> Lesson:
    """Return how detectors learn: on small scenes."""
    return Lesson(lambda rng: scenes(batch, SCENE_PX, "learn", rng), _detector_loss, steps, rate)


def wave_lesson(steps: int = 240, rate: float = 3e-3, batch: int = 48) -> Lesson:
    """Return how networks of series learn."""
    return Lesson(lambda rng: waves(batch, WINDOW, FEATURES, rng), _class_loss, steps, rate)
