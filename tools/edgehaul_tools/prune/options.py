"""How a run is pruned."""

from __future__ import annotations

import msgspec

from edgehaul.errors import UsageError
from edgehaul_tools.prune.removal import Ranking


class PruneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is pruned.

    Attributes:
        share: Share of the channels that are removed; 0 removes none.
        sparsity: Share of the single weights that become zero; 0 leaves all. It makes a compressed
            download smaller, and nothing faster.
        ranking: Which ones.
        steps: How often some are removed and the rest learns again, until the share is reached.
        epochs: Epochs of learning again, over all steps; 0 takes the recipe's.
        distill: Share of the dense network's answers in the loss; 0 learns from labels alone.
        sparse_epochs: Epochs before, in which the scales of batch norms are driven to zero.
        sparse_l1: How strongly (``optimizer.batch_norm_l1``).
        rate: The learning rate as a part of the recipe's.
        batches: Batches that ``taylor`` takes gradients of.
        seed: Of the trainings; None takes the recipe's.
    """

    share: float = 0.0
    sparsity: float = 0.0
    ranking: Ranking = Ranking()
    steps: int = 1
    epochs: int = 0
    distill: float = 0.5
    sparse_epochs: int = 0
    sparse_l1: float = 1e-3
    rate: float = 0.5
    batches: int = 16
    seed: int | None = None

    def require_possible(self) -> None:
        """Refuse values outside their range.

        Raises:
            UsageError: A value is outside its range.
        """
        faults = (
            (not 0 <= self.share < 1, "--share must be in 0..1, below 1", "give e.g. 0.5"),
            (not 0 <= self.sparsity < 1, "--sparsity must be in 0..1, below 1", "give e.g. 0.5"),
            (
                self.share == 0 and self.sparsity == 0,
                "nothing is to be removed",
                "give --share for fewer channels (faster), or --sparsity (smaller downloads)",
            ),
            (not 0 <= self.distill <= 1, "--distill is a share and must be in 0..1", "give 0.5"),
            (self.ranking.round_to < 1, "--round-to must be at least 1", "give 16, 8, or 1"),
            (self.steps < 1, "--steps must be at least 1", "give e.g. 2"),
            (
                0 < self.epochs < self.steps,
                f"{self.epochs} epochs cannot be divided among {self.steps} steps",
                f"set --epochs to {self.steps} or more",
            ),
            (
                self.sparse_epochs > 0 and self.ranking.importance != "bn-scale",
                "--sparse-epochs drives scales of batch norms to zero, and they are not asked",
                "add --importance bn-scale",
            ),
        )
        for wrong, message, remedy in faults:
            if wrong:
                raise UsageError(message, remedy=remedy)

    def notes(self) -> dict[str, str]:
        """Return what tells two prunings apart, as text."""
        flat = {**msgspec.to_builtins(self), **msgspec.to_builtins(self.ranking)}
        del flat["ranking"]
        return {name: str(value) for name, value in flat.items()}
