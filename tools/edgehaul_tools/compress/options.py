"""What a search is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehaul.bundle.spec import ModelSpec
from edgehaul.errors import UsageError
from edgehaul_tools.quantize.limits import Limits
from edgehaul_tools.quantize.quantize import DEFAULT_LIMIT
from edgehaul_tools.quantize.target import Target, target_here

DEFAULT_BUDGET_S = 900.0
DEFAULT_MAX_DROP_POINTS = 0.5
_DETECTIONS, _OTHERS = 0.97, 0.99


class Options(msgspec.Struct, frozen=True):
    """How to compress.

    Attributes:
        name: Name of the model; empty takes the file's.
        spec_file: The spec, where the model does not carry one.
        labels: Names of the classes.
        limit: Most inputs to calibrate and, without labels, to compare on.
        max_drop: Largest loss against fp32 on labelled data; 0.01 is one point.
        min_agreement: Least agreement with fp32 without labels; none is 0.97 of detections,
            0.99 of others.
        min_speedup: fp32 time / int8 time to reach; None keeps whatever is faster than fp32.
        sure: Whether the whole interval of the drop must be within ``max_drop``.
        targets: Kinds of processors; one variant at least for each. Empty is this machine's.
        budget_s: Time for the search.
        prune: Shares of the channels to try without; only of a run directory.
        qat_epochs: Epochs to train on with int8 in the loop; 0 does not; only of a run directory.
        limits: What the model may take when it is first read and run.
        resume: Whether to go on with an unfinished search.
    """

    name: str = ""
    spec_file: Path | None = None
    labels: Sequence[str] = ()
    limit: int = DEFAULT_LIMIT
    max_drop: float = DEFAULT_MAX_DROP_POINTS / 100
    min_agreement: float | None = None
    min_speedup: float | None = None
    sure: bool = False
    targets: Sequence[Target] = ()
    budget_s: float = DEFAULT_BUDGET_S
    prune: Sequence[float] = ()
    qat_epochs: int = 0
    limits: Limits = Limits()
    resume: bool = False

    def agreement_for(self, spec: ModelSpec) -> float:
        """Return the least agreement for a model of this kind."""
        if self.min_agreement is not None:
            return self.min_agreement
        return _DETECTIONS if spec.task == "detect" else _OTHERS

    @property
    def resolved_targets(self) -> tuple[Target, ...]:
        """The kinds of processors; this machine's where none is named."""
        return tuple(self.targets) or (target_here(),)

    @property
    def identity(self) -> bytes:
        """What of the options decides which figures are measured, and which are enough."""
        lasting = msgspec.structs.replace(
            self,
            resume=False,
            budget_s=0.0,
            name="",
            limits=Limits(),
            spec_file=None,  # it is the spec itself that decides
            targets=self.resolved_targets,
        )
        return msgspec.json.encode(lasting, enc_hook=str, order="sorted")

    def require_possible(self) -> None:
        """Refuse values that nothing can be searched by.

        Raises:
            UsageError: A value is no number or outside its range, or a share is named twice.
        """
        numbers = (self.max_drop, self.min_agreement, self.min_speedup, self.budget_s)
        if not all(math.isfinite(number) for number in numbers if number is not None):
            raise UsageError("a limit is no finite number", remedy="give a number such as 0.5")
        for share in self.prune:
            if not 0 < share < 1:
                raise UsageError(
                    f"{share:g} is no share of the channels",
                    where="--prune",
                    remedy="give a number above 0 and below 1, such as 0.3",
                )
        if len({pruned_name(share) for share in self.prune}) < len(self.prune):
            raise UsageError(
                "a share of the channels is named twice",
                where="--prune",
                remedy="name each share once",
            )


def pruned_name(share: float) -> str:
    """Return the name of a network without a share of the channels, such as ``pruned12.5``."""
    return f"pruned{100 * share:.10g}"
