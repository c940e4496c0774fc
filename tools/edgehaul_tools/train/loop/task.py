"""What the loop must know of anything that is learnt."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """One thing to learn: a network, its samples and its loss.

    Everything random depends on the seed, the epoch and a sample's number alone, never on what
    was drawn before. So a training that was killed goes on to the same weights, and several
    processes or loader threads make the same batches as one.

    Attributes:
        network: What is trained, in place.
        measure: Name of the figure of :meth:`evaluate` that decides which weights are best.
        higher_is_better: Whether a larger figure is a better one.
    """

    network: nn.Module
    measure: str
    higher_is_better: bool

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the numbers of the samples of one epoch (from 1) in their order.

        Every epoch has as many. A number may come up more than once, where rare classes are
        drawn more often.
        """
        ...

    def batch(self, numbers: NDArray[np.int64], epoch: int) -> Batch:
        """Return the samples with these numbers, varied as in this epoch.

        Called in loader threads, several at once.
        """
        ...

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return the mean loss over a batch, float32.

        Args:
            network: :attr:`network`, or what wraps it where several processes train.
            batch: From :meth:`batch`.
        """
        ...

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on the validation part by name; none without one.

        Args:
            network: With averaged weights, in evaluation mode.
        """
        ...
