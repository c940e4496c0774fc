"""Which cells answer for which object: task-aligned assignment (TOOD, Feng et al. 2021).

Of the cells inside an object, those answer that already score its class and fit its box
best, so that the highest score and the best box come from the same cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgehaul_tools.train.pictures.canvases import IGNORED

_SCORE_POWER = 0.5
_OVERLAP_POWER = 4.0
_CELLS_PER_OBJECT = 9
_TINY = 1e-9


@dataclass(frozen=True)
class Targets:
    """What the cells of B pictures should answer.

    Attributes:
        scores: (B, N, classes) in 0..1: how well the best answer fits; 0 for background.
        boxes: (B, N, 4) x1, y1, x2, y2 in pixels, meaningful where ``weights`` is above 0.
        weights: (B, N) the sum of ``scores`` over the classes.
        counted: (B, N) False where neither answer is a fault: inside an ignored object.
    """

    scores: Tensor
    boxes: Tensor
    weights: Tensor
    counted: Tensor


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union of boxes (..., 4), broadcast against each other."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(box[..., 2:] - box[..., :2]).clamp(min=0).prod(dim=-1) for box in (first, second)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=_TINY)


def _inside(centers: Tensor, boxes: Tensor) -> Tensor:
    """Return whether each centre (N, 2) may answer for each box (B, M, 4), as (B, M, N).

    An object too small to hold any centre is answered by the centre nearest to its own.
    """
    points = centers[None, None]
    inside = ((points > boxes[:, :, None, :2]) & (points < boxes[:, :, None, 2:])).all(dim=-1)
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    nearest = (points - middles[:, :, None]).square().sum(dim=-1).argmin(dim=-1, keepdim=True)
    return inside.scatter(-1, nearest, value=True)


def assign(
    scores: Tensor, boxes: Tensor, centers: Tensor, true_boxes: Tensor, true_classes: Tensor
) -> Targets:
    """Return the targets for one batch.

    Args:
        scores: (B, N, classes) the cells' scores in 0..1.
        boxes: (B, N, 4) the cells' boxes in pixels.
        centers: (N, 2) the cells' centres in pixels.
        true_boxes: (B, M, 4) the objects, padded to the same count.
        true_classes: (B, M) int64; -1 marks the padding, ``IGNORED`` what may be found or not.
    """
    batch, count = true_classes.shape
    if count == 0:
        weights = scores.new_zeros(scores.shape[:2])
        return Targets(torch.zeros_like(scores), torch.zeros_like(boxes), weights, weights == 0)
    valid = true_classes >= 0
    overlap = overlaps(true_boxes[:, :, None], boxes[:, None])
    index = true_classes.clamp(min=0)[:, :, None].expand(-1, -1, scores.shape[1])
    class_scores = scores.transpose(1, 2).gather(1, index)
    fit = class_scores.pow(_SCORE_POWER) * overlap.pow(_OVERLAP_POWER) + _TINY
    inside = _inside(centers, true_boxes)
    fit = fit * (inside & valid[:, :, None])
    best = fit.topk(min(_CELLS_PER_OBJECT, fit.shape[-1]), dim=-1)
    chosen = torch.zeros_like(fit).scatter(-1, best.indices, (best.values > 0).to(fit.dtype)) > 0
    # A cell that two objects want goes to the one it overlaps more.
    owner = torch.where(chosen, overlap, -1.0).argmax(dim=1)
    taken = chosen & (owner[:, None] == torch.arange(count)[None, :, None])
    # The best cell of an object is asked for the overlap it reaches, the others for less.
    fit = fit * taken
    best_overlap = (overlap * taken).amax(dim=-1, keepdim=True)
    quality = fit / fit.amax(dim=-1, keepdim=True).clamp(min=_TINY) * best_overlap
    weights = quality.sum(dim=1)
    picked = torch.arange(batch)[:, None]
    target_scores = torch.zeros_like(scores)
    cell_classes = true_classes.clamp(min=0)[picked, owner]
    target_scores.scatter_(-1, cell_classes[..., None], weights[..., None])
    excused = (inside & (true_classes == IGNORED)[:, :, None]).any(dim=1) & (weights == 0)
    return Targets(target_scores, true_boxes[picked, owner], weights, ~excused)
