"""The training of the detector."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np
import torch

from edgehaul.bundle.spec import ImageInput, ModelSpec, OutputSpec
from edgehaul.config.recipe import DetectorRecipe, Recipe
from edgehaul.errors import DatasetError
from edgehaul.vision.decode import Detections, decoder_for
from edgehaul.vision.preprocess import Placement
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.train.architectures.detector import (
    SIZES,
    STRIDES,
    DeployedDetector,
    DetectorNetwork,
    DetectorShape,
    cell_centers,
)
from edgehaul_tools.train.detector.average_precision import mean_average_precision
from edgehaul_tools.train.detector.loss import detector_loss
from edgehaul_tools.train.loop.optimization import (
    EpochReport,
    Optimization,
    Progress,
    has_bfloat16,
    no_progress,
    seeded_torch,
)
from edgehaul_tools.train.pictures.augmentation import Augmenter, Batch
from edgehaul_tools.train.pictures.canvases import CanvasSet, load_canvases
from edgehaul_tools.train.run_directory import (
    EpochRecord,
    Fitted,
    Started,
    TrainingRun,
    keep_run,
)

_MEASURE = "mAP50"
_LOWEST_SCORE = 0.02
"""Detections below it do not move the AP, and would cost time."""
_MEASURED_SHARE = 4
"""The figure is taken so often in a training; it costs as much as a part of an epoch."""
_EVALUATION_BATCH = 32


def detector_spec(recipe: DetectorRecipe, labels: tuple[str, ...]) -> ModelSpec:
    """Return what goes into and comes out of the detector that ``recipe`` trains."""
    canvas = ImageInput(
        width=recipe.width,
        height=recipe.height,
        resize=recipe.resize,
        color=recipe.color,
        name="image",
    )
    output = OutputSpec(
        head="edgehaul",
        labels=labels,
        score_threshold=recipe.score_threshold,
        iou_threshold=recipe.iou_threshold,
        class_agnostic=recipe.class_agnostic,
        strides=STRIDES,
    )
    return ModelSpec(task="detect", input=canvas, output=output)


def train_detector(
    recipe: DetectorRecipe,
    train: DetectionDataset,
    val: DetectionDataset,
    out: Path,
    progress: Progress = no_progress,
) -> TrainingRun:
    """Train a detector and write its run directory.

    Args:
        recipe: How; its ``dataset`` and ``split`` are not looked at here.
        train: What is learnt from.
        val: What the reported accuracy is measured on; may be empty.
        out: The run directory.
        progress: Called after each epoch.

    Raises:
        DatasetError: There is nothing to learn, or a picture cannot be read.
        ModelError: The training diverged.
    """
    started = Started()
    spec = detector_spec(recipe, tuple(train.labels))
    if not isinstance(spec.input, ImageInput):
        raise TypeError(spec.input)
    parts = {"train": load_canvases(train, spec.input), "val": load_canvases(val, spec.input)}
    fitted = fit_detector(recipe, spec, parts["train"], parts["val"], progress)
    counts = {name: len(part) for name, part in parts.items()}
    return keep_run(out, "detector", spec, Recipe(detector=recipe), fitted, counts, started)


def fit_detector(
    recipe: DetectorRecipe,
    spec: ModelSpec,
    train: CanvasSet,
    val: CanvasSet,
    progress: Progress = no_progress,
) -> Fitted[DetectorNetwork]:
    """Train a detector on canvases; see ``train_detector``."""
    if not any(len(boxes) for boxes in train.boxes):
        raise DatasetError(
            "the training part holds no labelled object", remedy="label some pictures first"
        )
    with seeded_torch(recipe.seed, recipe.threads):
        return _DetectorTraining(recipe, spec, train, val).run(progress)


class _DetectorTraining:
    """The state of one training."""

    def __init__(
        self, recipe: DetectorRecipe, spec: ModelSpec, train: CanvasSet, val: CanvasSet
    ) -> None:
        self._recipe, self._spec, self._train, self._val = recipe, spec, train, val
        self._half_width = recipe.precision == "auto" and has_bfloat16()
        self._random = np.random.default_rng(recipe.seed)
        self._augmenter = Augmenter(recipe.augment, recipe.seed)
        shape = DetectorShape(recipe.channels or SIZES[recipe.size], len(spec.output.labels))
        self._network = DetectorNetwork(shape)
        # Channels last halves the time of a step on a processor.
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs miss it
        self._centers = cell_centers(recipe.width, recipe.height)
        self._batches = max(1, round(len(train) / recipe.optimizer.batch))
        steps = self._batches * recipe.optimizer.epochs
        self._optimization = Optimization(self._network, recipe.optimizer, steps)

    def run(self, progress: Progress) -> Fitted[DetectorNetwork]:
        epochs, started_s = self._recipe.optimizer.epochs, time.monotonic()
        every = max(1, epochs // _MEASURED_SHARE)
        history: list[EpochRecord] = []
        value: float | None = None
        for epoch in range(1, epochs + 1):
            loss = self._epoch(epoch)
            measured = bool(len(self._val)) and (epoch % every == 0 or epoch == epochs)
            value = self._measure() if measured else None
            history.append(EpochRecord(epoch, loss, value))
            measure = _MEASURE if measured else ""
            elapsed_s = time.monotonic() - started_s
            progress(EpochReport(epoch, epochs, loss, measure, value, elapsed_s))
        metrics = {} if value is None else {_MEASURE: value}
        return Fitted(self._optimization.result, tuple(history), metrics)

    def _epoch(self, epoch: int) -> float:
        self._network.train()
        order = self._random.permutation(len(self._train))
        losses = [
            self._step(self._augmenter.batch(self._train, chosen, epoch))
            for chosen in np.array_split(order, self._batches)
        ]
        return float(np.mean(losses))

    def _step(self, batch: Batch) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half_width):
            logits, distances = self._network(batch.images)
        loss = detector_loss(
            logits.float(), distances.float(), self._centers, batch.boxes, batch.classes
        )
        return self._optimization.step(loss)

    def _measure(self) -> float:
        found = detect_canvases(self._optimization.result, self._spec, self._val)
        return mean_average_precision(found, self._val, len(self._spec.output.labels))


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
        numbers = range(first, min(first + _EVALUATION_BATCH, len(canvases)))
        part = torch.from_numpy(np.stack([canvases.images[number] for number in numbers]))
        boxes, scores = (v.numpy() for v in deployed(part))
        found += [
            decode((boxes[i : i + 1], scores[i : i + 1]), placement) for i in range(len(part))
        ]
    return found
