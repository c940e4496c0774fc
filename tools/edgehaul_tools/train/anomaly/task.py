"""What the training loop must know of an autoencoder: its batches, its loss, its figures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehaul.config.recipe import AnomalyRecipe
from edgehaul_tools.train.anomaly.deployed import DeployedImageAnomaly
from edgehaul_tools.train.loop.anomaly_scores import alarm_threshold, anomaly_metrics
from edgehaul_tools.train.pictures.augmentation import Augmenter
from edgehaul_tools.train.pictures.canvases import CanvasSet

_ROWS_AT_ONCE = 64


class AnomalyTask:
    """Learns to draw normal pictures again; see :class:`~edgehaul_tools.train.loop.task.Task`.

    Args:
        network: Pictures (B, 3, H, W) in 0..1 for pictures; trained in place.
        recipe: How pictures are varied, and the seed.
        train: Normal pictures, which are learnt from.
        val: What the threshold is chosen by, and measured on.
        is_anomaly: (n,) which pictures of ``val`` are not normal.
    """

    measure = "normal_error"
    higher_is_better = False

    def __init__(
        self,
        network: nn.Module,
        recipe: AnomalyRecipe,
        train: CanvasSet,
        val: CanvasSet,
        is_anomaly: NDArray[np.bool_],
    ) -> None:
        self.network = network
        self._recipe, self._train, self._val, self._is_anomaly = recipe, train, val, is_anomaly
        self._augmenter = Augmenter(recipe.augment, recipe.seed, mosaic=False)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return all pictures' numbers, in another order in each epoch."""
        return np.random.default_rng((self._recipe.seed, epoch)).permutation(len(self._train))

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Tensor:
        """Return pictures (B, 3, H, W) in 0..1, varied as in this epoch."""
        return self._augmenter.batch(self._train, numbers, epoch).images

    def loss(self, network: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean squared error of the pictures drawn again."""
        return functional.mse_loss(network(batch).float(), batch)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return the score of normal pictures, the threshold, and how well others are found.

        ``normal_error`` decides which weights are best: a choice by the anomalies' own
        figures would learn from them.
        """
        scores = anomaly_scores(network, self._val)
        normal = scores[~self._is_anomaly]
        threshold = alarm_threshold(normal, self._recipe.false_alarms)
        found = anomaly_metrics(scores, self._is_anomaly, threshold)
        return {"normal_error": float(normal.mean()), "threshold": threshold, **found}

    def sample_name(self, number: int) -> str:
        """Return the name of a picture, for messages."""
        return self._train.names[number] if self._train.names else str(number)


@torch.no_grad()
def anomaly_scores(network: nn.Module, canvases: CanvasSet) -> NDArray[np.float32]:
    """Return the score (n,) of each picture, exactly as the box will."""
    deployed = DeployedImageAnomaly(network).eval()
    scores = [
        deployed(torch.from_numpy(np.stack([canvases.images[n] for n in rows])))[0][:, 0]
        for rows in np.split(
            np.arange(len(canvases)), range(_ROWS_AT_ONCE, len(canvases), _ROWS_AT_ONCE)
        )
        if len(rows)
    ]
    return torch.cat(scores).numpy() if scores else np.empty(0, np.float32)
