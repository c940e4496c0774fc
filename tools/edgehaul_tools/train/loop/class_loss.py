"""The loss of every classifier, and what is done about rare classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgehaul.config.recipe_sections import ClassLossSection


class ClassLoss:
    """Cross-entropy with smoothed labels, weighed classes and focus on hard samples.

    Sources: label smoothing, Szegedy et al. 2016 (arXiv:1512.00567); focal loss, Lin et al.
    2017 (arXiv:1708.02002).

    Args:
        section: What the recipe says.
        classes: (n,) ids of the training part's classes, whose frequencies set the weights.
        count: Number of classes.
    """

    def __init__(self, section: ClassLossSection, classes: NDArray[np.int64], count: int) -> None:
        self._section = section
        self._weights: Tensor | None = None
        if section.balance == "weigh":
            self._weights = torch.from_numpy(class_weights(classes, count))

    def __call__(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (B, C).
            classes: (B,) int64.
        """
        section = self._section
        # The mean is taken over samples, not over weights: so a batch divided among
        # processes has the same loss as one batch.
        losses = functional.cross_entropy(
            logits.float(),
            classes,
            weight=self._weights,
            reduction="none",
            label_smoothing=section.label_smoothing,
        )
        if section.focal_gamma:
            right = torch.softmax(logits.float(), dim=-1).gather(1, classes[:, None])[:, 0]
            losses = losses * (1 - right) ** section.focal_gamma
        return losses.mean()


def class_weights(classes: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Return a weight for each class, (count,): inverse to its frequency, 1 in the mean.

    A class that does not occur has the weight 0.
    """
    frequency = np.bincount(classes, minlength=count).astype(np.float64)
    present = frequency > 0
    weights = np.zeros(count)
    weights[present] = frequency.sum() / present.sum() / frequency[present]
    return weights.astype(np.float32)


def drawn_balanced(
    classes: NDArray[np.int64],
    count: int,
    random: np.random.Generator,
    *,
    first_share: float | None = None,
) -> NDArray[np.int64]:
    """Draw samples so that every class is as frequent as the others.

    Args:
        classes: (n,) class ids; samples with a negative one are never drawn.
        count: How many to draw, with replacement.
        random: Draws.
        first_share: Share of class 0, where it shall be another than that of the others
            together (for a "normal" class); none treats it as any class.

    Returns:
        (count,) numbers of samples.
    """
    shares = np.zeros(len(classes))
    present = [int(c) for c in np.unique(classes) if c >= 0]
    others = [c for c in present if c > 0]
    for class_id in present:
        of_class = classes == class_id
        share = 1 / len(present)
        if first_share is not None and 0 in present and others:
            share = first_share if class_id == 0 else (1 - first_share) / len(others)
        shares[of_class] = share / of_class.sum()
    return random.choice(len(classes), size=count, p=shares / shares.sum())
