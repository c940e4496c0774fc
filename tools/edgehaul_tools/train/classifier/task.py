"""What the training loop must know of a classifier: its batches, its loss, its figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgehaul.config.recipe import ClassifierRecipe
from edgehaul_tools.train.classifier.deployed import Normalisation
from edgehaul_tools.train.loop.class_loss import ClassLoss, drawn_balanced
from edgehaul_tools.train.loop.loader import made_ahead
from edgehaul_tools.train.pictures.augmentation import Augmenter
from edgehaul_tools.train.pictures.canvases import CanvasSet

MEASURE = "macro_f1"
_EVALUATION_BATCH = 64
_EVALUATION_LOADERS = 2
_MOST_LISTED = 50
"""Of more classes the F1 are not listed one by one."""


@dataclass(frozen=True)
class ClassifiedBatch:
    """Pictures and what they show.

    Attributes:
        images: (B, 3, H, W) float32, normalised RGB, channels last in memory.
        classes: (B,) int64.
    """

    images: Tensor
    classes: Tensor


@dataclass(frozen=True)
class ClassifiedSet:
    """Pictures of which each as a whole shows one class.

    Attributes:
        canvases: The pictures.
        classes: (n,) int64.
    """

    canvases: CanvasSet
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


class ClassifierTask:
    """A classifier to be learnt; see :class:`~edgehaul_tools.train.loop.task.Task`.

    Args:
        network: What is trained, in place: normalised pictures in, logits out.
        recipe: How pictures are varied, the loss, and the seed.
        labels: Names of the classes.
        train: What is learnt from.
        val: What the figures are taken on; may be empty.
    """

    measure = MEASURE
    higher_is_better = True

    def __init__(
        self,
        network: nn.Module,
        recipe: ClassifierRecipe,
        labels: tuple[str, ...],
        train: ClassifiedSet,
        val: ClassifiedSet,
    ) -> None:
        self.network = network
        self._recipe, self._labels, self._train, self._val = recipe, labels, train, val
        self._augmenter = Augmenter(recipe.augment, recipe.seed, mosaic=False)
        self._as_it_is = Augmenter(None)
        self._loss = ClassLoss(recipe.loss, train.classes, len(labels))
        self._normalisation = Normalisation(recipe.color, scale=1.0)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return all pictures' numbers, or as many drawn so that no class is rare."""
        random = np.random.default_rng((self._recipe.seed, epoch))
        if self._recipe.loss.balance == "draw":
            return drawn_balanced(self._train.classes, len(self._train), random)
        return random.permutation(len(self._train))

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> ClassifiedBatch:
        """Return the pictures with these numbers, varied as in this epoch."""
        images = self._augmenter.batch(self._train.canvases, numbers, epoch).images
        classes = torch.from_numpy(self._train.classes[numbers])
        return ClassifiedBatch(self._normalisation(images), classes)

    def loss(self, network: nn.Module, batch: ClassifiedBatch) -> Tensor:
        """Return the mean loss of a batch."""
        return self._loss(network(batch.images), batch.classes)

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return accuracy and macro F1 on the validation part; nothing without one."""
        if not len(self._val):
            return {}
        answers = self._answers(network)
        return classified_metrics(answers, self._val.classes, self._labels)

    def sample_name(self, number: int) -> str:
        """Return the name of a picture, for messages."""
        names = self._train.canvases.names
        return names[number] if names else str(number)

    def _answers(self, network: nn.Module) -> NDArray[np.int64]:
        numbers = np.arange(len(self._val))
        parts = np.split(numbers, range(_EVALUATION_BATCH, len(numbers), _EVALUATION_BATCH))

        def make(part: NDArray[np.int64]) -> Tensor:
            images = self._as_it_is.batch(self._val.canvases, part, 0).images
            normalised: Tensor = self._normalisation(images)
            return normalised

        answers = [
            network(images).argmax(dim=-1).numpy()
            for _, images in made_ahead(make, parts, _EVALUATION_LOADERS)
        ]
        return np.concatenate(answers)


def classified_metrics(
    answers: NDArray[np.int64], classes: NDArray[np.int64], labels: tuple[str, ...]
) -> dict[str, float]:
    """Return accuracy, macro F1, and each class's F1 where the classes are not too many.

    The macro F1 is the mean over the classes that occur in ``classes`` or in ``answers``.

    Args:
        answers: (n,) what the classifier says.
        classes: (n,) what is so.
        labels: Names of the classes.
    """
    count = len(labels)
    confusion = np.bincount(classes * count + answers, minlength=count * count)
    confusion = confusion.reshape(count, count)
    hits = confusion.diagonal().astype(np.float64)
    asked = confusion.sum(axis=0) + confusion.sum(axis=1)
    scores = {
        f"f1_{label}": float(2 * hits[k] / asked[k]) for k, label in enumerate(labels) if asked[k]
    }
    return {
        "accuracy": float(hits.sum() / max(len(classes), 1)),
        MEASURE: float(np.mean(list(scores.values()))) if scores else 0.0,
        **(scores if count <= _MOST_LISTED else {}),
    }
