"""What the training loop must know of a detector: its batches, its loss, its figure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.config.recipe import DetectorRecipe
from edgehaul.vision.decode import Detections, decoder_for
from edgehaul.vision.placement import Placement
from edgehaul_tools.train.architectures.detector import (
    DeployedDetector,
    DetectorNetwork,
    cell_centers,
)
from edgehaul_tools.train.detector.average_precision import mean_average_precision
from edgehaul_tools.train.detector.loss import summed_loss
from edgehaul_tools.train.loop.processes import Processes, this_process
from edgehaul_tools.train.pictures.augmentation import Augmenter, Batch
from edgehaul_tools.train.pictures.canvases import CanvasSet

MEASURE = "mAP50"
_LOWEST_SCORE = 0.02
"""Detections below it do not move the AP, and would cost time."""
_EVALUATION_BATCH = 32


class DetectorTask:
    """A detector to be learnt; see :class:`~edgehaul_tools.train.loop.task.Task`.

    Args:
        network: What is trained, in place.
        recipe: How pictures are varied, and the seed.
        spec: What goes into the detector and comes out of it.
        train: What is learnt from.
        val: What the figure is taken on; may be empty.
    """

    measure = MEASURE
    higher_is_better = True

    def __init__(
        self,
        network: DetectorNetwork,
        recipe: DetectorRecipe,
        spec: ModelSpec,
        train: CanvasSet,
        val: CanvasSet,
    ) -> None:
        self.network: nn.Module = network
        self._spec, self._train, self._val = spec, train, val
        self._seed = recipe.seed
        self._augmenter = Augmenter(recipe.augment, recipe.seed)
        self._centers = cell_centers(recipe.width, recipe.height)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return all pictures' numbers, in another order in each epoch."""
        return np.random.default_rng((self._seed, epoch)).permutation(len(self._train))

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Batch:
        """Return the pictures with these numbers, varied as in this epoch."""
        return self._augmenter.batch(self._train, numbers, epoch)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the loss of a batch, for each object in it."""
        logits, distances = network(batch.images)
        total, weight = summed_loss(
            logits.float(), distances.float(), self._centers, batch.boxes, batch.classes
        )
        # Alone, unless it is the processes' common network that is asked.
        together = isinstance(network, DistributedDataParallel)
        processes = this_process() if together else Processes()
        pictures = float(len(batch.images))
        all_weight, all_pictures = processes.sum(float(weight), pictures)
        # As if all processes' pictures were one batch: the loop weighs by pictures.
        return total / max(all_weight, 1.0) * (all_pictures / pictures)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean AP at IoU 0.5 on the validation part; nothing without one."""
        if not len(self._val):
            return {}
        if not isinstance(network, DetectorNetwork):
            raise TypeError(network)
        found = detect_canvases(network, self._spec, self._val)
        return {MEASURE: mean_average_precision(found, self._val, len(self._spec.output.labels))}

    def sample_name(self, number: int) -> str:
        """Return the name of a picture, for messages."""
        return self._train.names[number] if self._train.names else str(number)


@torch.no_grad()
def detect_canvases(
    network: DetectorNetwork, spec: ModelSpec, canvases: CanvasSet
) -> list[Detections]:
    """Return what ``network`` finds on each canvas, in canvas pixels, by the box's own decoder."""
    image_input = spec.input
    if not isinstance(image_input, ImageInput):
        raise TypeError(image_input)
    width, height = image_input.width, image_input.height
    deployed = DeployedDetector(network, width=width, height=height).eval()
    output = msgspec.structs.replace(spec.output, score_threshold=_LOWEST_SCORE)
    decode = decoder_for(msgspec.structs.replace(spec, output=output))
    placement = Placement(1.0, 1.0, 0.0, 0.0, width, height)
    found: list[Detections] = []
    for first in range(0, len(canvases), _EVALUATION_BATCH):
        part = _stacked(canvases, range(first, min(first + _EVALUATION_BATCH, len(canvases))))
        boxes, scores = (v.float().numpy() for v in deployed(part))
        found += [
            decode((boxes[i : i + 1], scores[i : i + 1]), placement) for i in range(len(part))
        ]
    return found


def _stacked(canvases: CanvasSet, numbers: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.stack([canvases.images[number] for number in numbers]))
