"""One form of a model that the search has tried, and what was measured of it."""

from __future__ import annotations

import msgspec

from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.evaluate.examined import LOWER_IS_BETTER
from edgehaul_tools.quantize.fusion import Fusion
from edgehaul_tools.quantize.plan import Plan
from edgehaul_tools.verify.agreement import METRIC
from edgehaul_tools.verify.gate import Gate

GIVEN = "given"
"""The network as it was given; others are pruned or trained on."""
Key = tuple[str, Plan | None]
"""Network and plan: what tells a candidate from every other one."""


ALIKE = 0.03
"""Times that differ by less than this part are alike: the clock cannot tell them apart."""
PRUNED = "pruned"
"""Begins the names of networks with fewer channels."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One form that was tried.

    Attributes:
        network: Which network it is made of: ``given``, or how that one was changed.
        plan: How it became int8; none where it is float.
        metric: Name of the figure that it is judged by.
        value: That figure; none where it is undefined.
        drop: What is lost against fp32, with the paired 95 % interval; 0.01 is one point.
        agreement: With the answers of fp32.
        size_bytes: Size of the ONNX file.
        size_ratio: Its part of the fp32 file.
        latency_ratio: Its time / that of fp32, medians of one thread in turns.
        fusion: What ONNX Runtime makes of it; none for a float network.
        faults: Why its answers are not good enough, by the gate of ``verify``; empty where they
            are.
        elapsed_s: Time it took to make and measure.
    """

    network: str = GIVEN
    plan: Plan | None = None
    metric: str
    value: float | None
    drop: Estimate
    agreement: float
    size_bytes: int
    size_ratio: float
    latency_ratio: float
    fusion: Fusion | None = None
    faults: tuple[str, ...] = ()
    elapsed_s: float = 0.0

    @property
    def key(self) -> Key:
        """What tells it from every other one."""
        return self.network, self.plan

    @property
    def is_given(self) -> bool:
        """Whether it is the fp32 model itself that was given."""
        return self.network == GIVEN and self.plan is None

    @property
    def summary(self) -> str:
        """What it is, in a few words."""
        made = self.plan.summary if self.plan is not None else "fp32"
        return made if self.network == GIVEN else f"{self.network}, {made}"

    @property
    def loss(self) -> float:
        """What is lost against fp32; all where the figure is undefined."""
        return 1.0 if self.drop.value is None else self.drop.value

    @property
    def loss_shown(self) -> str:
        """What is lost, for people: points of a share, growth of an error in per cent."""
        return shown(self.metric, self.drop.value)

    @property
    def can_be_chosen(self) -> bool:
        """Whether it is worth a variant: int8, or a float network with fewer channels."""
        return self.plan is not None or self.network.startswith(PRUNED)

    @property
    def size_mb(self) -> float:
        """Size in megabytes of 10^6 bytes."""
        return self.size_bytes / 1e6


class Wanted(msgspec.Struct, frozen=True):
    """What a candidate must reach to be kept.

    Attributes:
        max_drop: Largest loss against fp32 on labelled data; 0.01 is one point.
        min_agreement: Least agreement with fp32, where there are no labels.
        min_speedup: fp32 time / its time; nothing slower than fp32 is ever kept.
        sure: Whether the whole 95 % interval must be within it.
        timed: Whether times of this machine count: not where the model is for another kind.
    """

    max_drop: float
    min_agreement: float
    min_speedup: float = 1.0
    sure: bool = False
    timed: bool = True

    def largest_loss(self, metric: str) -> float:
        """Return the largest loss that is good enough, by the figure that is judged."""
        return 1 - self.min_agreement if metric == METRIC else self.max_drop

    def refusal_of(self, one: Candidate) -> str:
        """Return why a candidate is not kept; empty where it may be."""
        return self.fault_of(one) or self.slowness_of(one)

    @property
    def gate(self) -> Gate:
        """The same as ``verify`` asks it."""
        return Gate(self.max_drop, self.min_agreement, self.sure)

    def fault_of(self, one: Candidate) -> str:
        """Return why its answers are not good enough; empty where they are."""
        return "; ".join(one.faults)

    def slowness_of(self, one: Candidate) -> str:
        """Return why it is not fast enough; empty where it is."""
        if not self.timed or one.is_given:
            return ""
        speedup = 1 / one.latency_ratio
        if one.latency_ratio > 1 - ALIKE:
            return f"not faster than fp32 here: {one.latency_ratio:.2f} of its time"
        if speedup < self.min_speedup:
            return f"{speedup:.2f} times as fast as fp32, less than {self.min_speedup:g}"
        return ""


def shown(metric: str, loss: float | None) -> str:
    """Return a loss for people: points of a share, growth of an error in per cent."""
    if loss is None:
        return "undefined"
    return f"{100 * loss:.1f} %" if metric in LOWER_IS_BETTER else f"{100 * loss:.2f} points"
