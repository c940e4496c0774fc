"""Which cells answer for which object, and what the loss asks of them."""

import pytest
import torch
from torch import Tensor

from edgehaul_tools.train.architectures.detector import boxes_from_distances, cell_centers
from edgehaul_tools.train.detector.assignment import assign, overlaps
from edgehaul_tools.train.detector.loss import generalized_overlap, summed_loss
from edgehaul_tools.train.pictures.canvases import IGNORED

Corners = tuple[float, float, float, float]
WIDTH, HEIGHT = 64, 48


def answers(count: int, classes: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores that know nothing and boxes of 16 pixels around every cell."""
    centers = cell_centers(WIDTH, HEIGHT)
    distances = torch.full((count, len(centers), 4), 8.0)
    scores = torch.full((count, len(centers), classes), 0.1)
    return scores, boxes_from_distances(centers, distances), centers


def test_cells_lie_row_by_row_fine_grid_first() -> None:
    centers = cell_centers(WIDTH, HEIGHT)
    assert centers.shape == (8 * 6 + 4 * 3, 2)
    assert centers[0].tolist() == [4, 4]
    assert centers[1].tolist() == [12, 4]
    assert centers[48].tolist() == [8, 8]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (20, 0, 30, 10), 0.0),
        ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),
    ],
)
def test_overlap(first: Corners, second: Corners, expected: float) -> None:
    boxes = [torch.tensor(v, dtype=torch.float32) for v in (first, second)]
    assert float(overlaps(*boxes)) == pytest.approx(expected, abs=1e-6)


def test_generalized_overlap_still_pulls_where_nothing_is_shared() -> None:
    near, far = torch.tensor([[12.0, 0, 22, 10]]), torch.tensor([[40.0, 0, 50, 10]])
    box = torch.tensor([[0.0, 0, 10, 10]])
    assert float(generalized_overlap(box, far)) < float(generalized_overlap(box, near)) < 0


def test_the_cells_inside_an_object_answer_and_the_best_one_is_asked_for_its_overlap() -> None:
    scores, boxes, centers = answers(1)
    truth = torch.tensor([[[8.0, 8.0, 24.0, 24.0]]])
    targets = assign(scores, boxes, centers, truth, torch.tensor([[1]]))
    answering = (targets.weights[0] > 0).nonzero()[:, 0]
    inside = centers[answering]
    assert len(answering) > 0
    assert ((inside > 8) & (inside < 24)).all()
    assert (targets.scores[0, :, 0] == 0).all()
    best = overlaps(boxes[0, answering], truth[0]).max()
    assert float(targets.scores[0, :, 1].max()) == pytest.approx(float(best), abs=1e-4)


def test_an_object_smaller_than_a_cell_is_answered_by_the_nearest_cell() -> None:
    scores, boxes, centers = answers(1)
    truth = torch.tensor([[[7.0, 7.0, 9.5, 9.5]]])
    targets = assign(scores, boxes, centers, truth, torch.tensor([[0]]))
    assert int((targets.weights[0] > 0).sum()) == 1


def test_padding_and_pictures_without_objects_ask_for_nothing() -> None:
    scores, boxes, centers = answers(2)
    truth = torch.zeros(2, 1, 4)
    truth[0, 0] = torch.tensor([8.0, 8.0, 24.0, 24.0])
    targets = assign(scores, boxes, centers, truth, torch.tensor([[0], [-1]]))
    assert targets.weights[0].sum() > 0
    assert targets.weights[1].sum() == 0
    assert targets.counted.all()
    none = assign(scores, boxes, centers, torch.zeros(2, 0, 4), torch.zeros(2, 0).long())
    assert none.weights.sum() == 0


def test_inside_an_ignored_object_neither_answer_is_a_fault() -> None:
    _, _, centers = answers(1)
    truth = torch.tensor([[[0.0, 0.0, 32.0, 48.0]]])
    distances = torch.full((1, len(centers), 4), 8.0)
    silent = torch.full((1, len(centers), 2), -9.0)
    loud = silent.clone()
    loud[0, centers[:, 0] < 32] = 9.0
    classes = torch.tensor([[IGNORED]])
    losses = [float(summed_loss(v, distances, centers, truth, classes)[0]) for v in (silent, loud)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    without = float(summed_loss(loud, distances, centers, truth, torch.tensor([[-1]]))[0])
    assert without > 1


def test_two_objects_never_share_a_cell() -> None:
    scores, boxes, centers = answers(1)
    truth = torch.tensor([[[8.0, 8.0, 24.0, 24.0], [12.0, 8.0, 28.0, 24.0]]])
    targets = assign(scores, boxes, centers, truth, torch.tensor([[0, 1]]))
    assert ((targets.scores[0] > 0).sum(dim=-1) <= 1).all()
    assert (targets.scores[0] > 0).any(dim=0).all()
