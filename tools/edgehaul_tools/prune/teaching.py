"""A network that is changed goes on learning from what it was before."""

from __future__ import annotations

from typing import Any

from torch import nn

from edgehaul_tools.prune.distillation import DistilledTask
from edgehaul_tools.prune.networks import difference_of
from edgehaul_tools.train.continued import FinishedRun
from edgehaul_tools.train.loop.task import Task
from edgehaul_tools.train.qat.training import Taught

USUAL_SHARE = 0.5
"""Of the float network's answers in the loss; the labels have the rest."""


def taught_by(given: FinishedRun, share: float = USUAL_SHARE) -> Taught:
    """Return what lets a run's float network teach the one that learns with int8 in the loop.

    Args:
        given: The run.
        share: Share of its answers in the loss; 0 learns from labels alone.
    """

    def taught(task: Task[Any], teacher: nn.Module) -> Task[Any]:
        return DistilledTask(task, teacher, share, difference_of(given)) if share else task

    return taught


def teaching_notes(share: float = USUAL_SHARE) -> dict[str, str]:
    """Return what tells trainings with other shares apart, as a run's origin keeps it."""
    return {"distill": str(share)}
