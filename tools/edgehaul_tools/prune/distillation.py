"""Learning from the dense network's answers beside the labels.

Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from edgehaul_tools.train.loop.task import Task

Difference = Callable[[Any, Any], Tensor]
"""How far a network's answers are from its teacher's: a mean over the batch."""
TEMPERATURE = 4.0
"""What logits are divided by, so that also what a teacher thinks unlikely is learnt."""
_EPSILON = 1e-6


def class_difference(answers: Tensor, taught: Tensor) -> Tensor:
    """Return the divergence of two classifiers' answers at :data:`TEMPERATURE`.

    Args:
        answers: Logits (B, classes).
        taught: The teacher's.

    Returns:
        The Kullback-Leibler divergence times the squared temperature, so that its gradient is as
        large as that of the labels' loss.
    """
    learnt = functional.log_softmax(answers.float() / TEMPERATURE, dim=-1)
    wanted = functional.log_softmax(taught.float() / TEMPERATURE, dim=-1)
    divergence = functional.kl_div(learnt, wanted, reduction="batchmean", log_target=True)
    return divergence * TEMPERATURE**2


def cell_difference(answers: tuple[Tensor, Tensor], taught: tuple[Tensor, Tensor]) -> Tensor:
    """Return how far a detector's cells are from its teacher's.

    Nearly all cells are background: each counts by the best score that the teacher gives it, in
    the scores by at least a hundredth, for there the teacher says that nothing is there.

    Args:
        answers: Logits (B, N, classes) and distances in pixels (B, N, 4).
        taught: The teacher's.

    Returns:
        The binary cross-entropy beyond the teacher's own entropy, and the mean relative error of
        the distances.
    """
    (logits, distances), (wanted, sides) = answers, taught
    logits, wanted, sides = logits.float(), wanted.float(), sides.float()
    scores = wanted.sigmoid()
    weight = scores.amax(dim=-1, keepdim=True)
    total = weight.sum().clamp(min=1.0)
    surprise = functional.binary_cross_entropy_with_logits(logits, scores, reduction="none")
    own = functional.binary_cross_entropy_with_logits(wanted, scores, reduction="none")
    error = (distances.float() - sides).abs() / (sides + 1.0)
    return (surprise - own).sum() / total + (error * weight).sum() / (total * error.shape[-1])


def value_difference(answers: Tensor, taught: Tensor) -> Tensor:
    """Return the mean squared error as a part of the teacher's own variance.

    Args:
        answers: Values or pictures (B, ...).
        taught: The teacher's.
    """
    wanted = taught.float()
    variance = wanted.var(correction=0).clamp(min=_EPSILON)
    return functional.mse_loss(answers.float(), wanted) / variance


class DistilledTask:
    """A task whose network learns from a teacher, too.

    Args:
        task: What is learnt.
        teacher: The dense network; it is put into evaluation mode, and nothing is learnt in it.
        weight: Share of the teacher in the loss, 0..1; the labels have the rest.
        difference: How far answers are from the teacher's.
    """

    def __init__(
        self, task: Task[Any], teacher: nn.Module, weight: float, difference: Difference
    ) -> None:
        self._task, self._weight, self._difference = task, weight, difference
        self._teacher = teacher.eval().requires_grad_(requires_grad=False)
        self.network = task.network
        self.measure, self.higher_is_better = task.measure, task.higher_is_better

    def order(self, epoch: int) -> NDArray[Any]:
        """Return the order of the task."""
        return self._task.order(epoch)

    def batch(self, numbers: NDArray[Any], epoch: int) -> Any:  # noqa: ANN401 - the task's own batch
        """Return a batch of the task."""
        return self._task.batch(numbers, epoch)

    def loss(self, network: nn.Module, batch: Any) -> Tensor:  # noqa: ANN401 - the task's own batch
        """Return the weighted loss; what the network is given goes to the teacher, too."""
        seen: list[tuple[tuple[Tensor, ...], Any]] = []

        def look(_network: nn.Module, given: tuple[Tensor, ...], answers: object) -> None:
            seen.append((given, answers))

        hook = network.register_forward_hook(look)
        try:
            of_labels = self._task.loss(network, batch)
        finally:
            hook.remove()
        of_teacher = torch.zeros(())
        for given, answers in seen:
            with torch.no_grad():
                taught = self._teacher(*given)
            of_teacher = of_teacher + self._difference(answers, taught)
        return of_labels * (1 - self._weight) + of_teacher * self._weight

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return the task's figures."""
        return self._task.evaluate(network)

    def sample_name(self, number: int) -> str:
        """Return the name of a sample, for messages."""
        name: Callable[[int], str] = getattr(self._task, "sample_name", str)
        return name(number)
