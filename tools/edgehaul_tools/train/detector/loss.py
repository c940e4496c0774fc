"""The detector's loss: quality focal loss for scores, generalized IoU for boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from edgehaul_tools.train.architectures.detector import boxes_from_distances
from edgehaul_tools.train.detector.assignment import Targets, assign

_BOX_WEIGHT = 1.5
_TINY = 1e-7


def generalized_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalized IoU in -1..1 of boxes (..., 4) (Rezatofighi et al. 2019)."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (first, second)]
    union = areas[0] + areas[1] - shared
    outer_low = torch.minimum(first[..., :2], second[..., :2])
    outer_high = torch.maximum(first[..., 2:], second[..., 2:])
    outer = (outer_high - outer_low).prod(dim=-1)
    return shared / (union + _TINY) - (outer - union) / (outer + _TINY)


def score_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return the cross-entropy of scores and their targets, summed.

    Background counts by the square of its score (as in Lin et al. 2017), so that thousands
    of easy cells weigh little. Cells on an object count in full for every class: what tells
    classes apart is often a detail, and damping it there made the training far slower.
    """
    wanted = targets.scores
    plain = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    on_object = (targets.weights > 0)[..., None]
    focus = torch.where(on_object, 1.0, logits.sigmoid().square())
    return (plain * focus * targets.counted[..., None]).sum()


def summed_loss(
    logits: Tensor, distances: Tensor, centers: Tensor, true_boxes: Tensor, true_classes: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss of one batch, summed, and what to divide it by.

    Args:
        logits: (B, N, classes) from the network.
        distances: (B, N, 4) in pixels, from the network.
        centers: (N, 2) the cells' centres in pixels.
        true_boxes: (B, M, 4) the objects, padded to the same count.
        true_classes: (B, M) int64; -1 marks the padding, ``IGNORED`` what may be found or not.

    Returns:
        Two scalars: the sum over all cells, and the sum of the targets' weights, which grows
        with the number of objects.
    """
    boxes = boxes_from_distances(centers, distances)
    with torch.no_grad():
        targets = assign(logits.sigmoid(), boxes, centers, true_boxes, true_classes)
    answering = targets.weights > 0
    fit = generalized_overlap(boxes[answering], targets.boxes[answering])
    box_loss = ((1 - fit) * targets.weights[answering]).sum()
    return score_loss(logits, targets) + _BOX_WEIGHT * box_loss, targets.weights.sum()
