"""Tries int8 forms of one network, from the likeliest to the dearest, until one is good enough."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import msgspec

from edgehaul_tools.compress.candidate import Candidate, Wanted
from edgehaul_tools.quantize.plan import Plan, Ranging
from edgehaul_tools.quantize.quantizer import Progress, Quantizer

METHODS: tuple[Ranging, ...] = ("minmax", "percentile", "mse", "entropy")
MOST_FLOAT = 0.6
"""With more of the layers in float there is nothing left to gain."""
Measure = Callable[[Plan], Candidate]
"""Makes and measures the int8 model that a plan describes."""


class Budget:
    """How long a search may still go on.

    Args:
        seconds: From now.
        clock: Tells the seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._end_s = clock, clock() + seconds

    @property
    def is_spent(self) -> bool:
        """Whether the time is over."""
        return self._clock() >= self._end_s


class Explorer:
    """Tries forms of one network.

    All-int8 comes first in every form that is right on the target. Where its answers are not
    good enough, the repairs follow that cost no time on the box (equal channels, corrected biases,
    where that is quickly done); then the most sensitive layers are left in float, as few as meet
    the gate.

    Args:
        quantizer: Makes the models.
        measure: Measures one.
        wanted: What must be reached.
        budget: How long it may take.
        progress: Told what is done, in words.

    Attributes:
        tried: What was tried.
        was_cut_short: Whether the time was over while something was left to try.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        measure: Measure,
        wanted: Wanted,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self._quantizer, self._measure, self._wanted = quantizer, measure, wanted
        self._budget, self._progress = budget, progress
        self.tried: list[Candidate] = []
        self.was_cut_short = False
        self._distance = cache(self._distance_of)  # each asks for a model to be made

    def run(self, plans: Sequence[Plan]) -> None:
        """Try all-int8 plans, and repair those that are fast and not good enough."""
        firsts = [self._try(plan) for first in plans for plan in self._best_method(first)]
        for first in sorted(firsts, key=lambda one: one.latency_ratio):
            if self._is_settled(first):
                return
            if not first.faults or self._wanted.slowness_of(first):
                continue
            if self._must_stop():
                return
            self._repair(first)

    def _is_settled(self, first: Candidate) -> bool:
        """Whether what is good enough already is faster than all that a form may become.

        Where the clock of this machine says nothing, each form is repaired: it may be the fastest
        on some other processor.
        """
        good = [one.latency_ratio for one in self.tried if self._is_good(one)]
        return self._wanted.timed and bool(good) and min(good) <= first.latency_ratio

    def _is_good(self, one: Candidate) -> bool:
        return one.can_be_chosen and not self._wanted.refusal_of(one)

    def _must_stop(self) -> bool:
        """Whether the time is over; asked only where something is left to do."""
        self.was_cut_short = self.was_cut_short or self._budget.is_spent
        return self.was_cut_short

    def _best_method(self, plan: Plan) -> Iterator[Plan]:
        """Yield the plan with the ranges that keep the probes' answers best.

        When the time is over, the best so far is taken: one form of a network is always tried.
        """
        if self.tried and self._must_stop():
            return
        if plan.method is None:
            yield plan
            return
        learnt: tuple[Ranging, ...] = ("learnt",) if self._quantizer.has_learnt_ranges else ()
        best, nearest = plan, math.inf
        for method in (*learnt, *METHODS):
            if best is not plan and self._must_stop():
                break
            one = msgspec.structs.replace(plan, method=method)
            distance = self._distance(one)
            if best is plan or distance < nearest:
                best, nearest = one, distance
        yield best

    def _distance_of(self, plan: Plan) -> float:
        return self._quantizer.distance_of(self._quantizer.build(plan))

    def _try(self, plan: Plan) -> Candidate:
        one = self._measure(plan)
        self.tried.append(one)
        return one

    def _repair(self, first: Candidate) -> None:
        assert first.plan is not None  # noqa: S101 - a first one is a plan's
        best, is_static = first, first.plan.method is not None
        cheap = is_static and self._quantizer.corrects_cheaply
        if is_static and self._quantizer.can_equalize:
            best = self._try_equalized(best)
        if cheap and not self._is_good(best):
            best = self._try_corrected(best)
        if self._is_good(best):
            return
        found = self._leave_in_float(best)
        if is_static and not cheap and not found:
            self._try_corrected(best)

    def _try_equalized(self, best: Candidate) -> Candidate:
        assert best.plan is not None  # noqa: S101 - what is repaired has one
        equalized = msgspec.structs.replace(best.plan, equalized=True)
        return self._tried(best, equalized, "making the channels of following layers alike")

    def _try_corrected(self, best: Candidate) -> Candidate:
        assert best.plan is not None  # noqa: S101 - what is repaired has one
        corrected = msgspec.structs.replace(best.plan, bias_corrected=True)
        return self._tried(best, corrected, "correcting the biases layer by layer")

    def _tried(self, best: Candidate, plan: Plan, doing: str) -> Candidate:
        """Try a repair that costs no time on the box, if it brings the probes' answers nearer."""
        if self._must_stop() or best.plan is None:
            return best
        self._progress(doing)
        if self._distance(plan) >= self._distance(best.plan):
            return best
        repaired = self._try(plan)
        return repaired if repaired.loss < best.loss else best

    def _leave_in_float(self, best: Candidate) -> bool:
        """Find the fewest layers in float that meet the gate: doubled, then halved between.

        Returns:
            Whether there are such layers.
        """
        plan = best.plan
        if self._must_stop() or plan is None:
            return False
        order = self._quantizer.by_sensitivity(plan)
        most = int(MOST_FLOAT * len(order))
        failed = 0
        while failed < most and not self._must_stop():
            count = min(max(1, 2 * failed), most)
            one = self._try(msgspec.structs.replace(plan, float_units=order[:count]))
            if self._wanted.slowness_of(one):
                return False  # more layers in float are slower still
            if not one.faults:
                self._narrow(plan, order, failed, count)
                return True
            failed = count
        return False

    def _narrow(self, plan: Plan, order: tuple[str, ...], failed: int, passed: int) -> None:
        while passed - failed > 1:
            if self._must_stop():
                return
            middle = (failed + passed) // 2
            one = self._try(msgspec.structs.replace(plan, float_units=order[:middle]))
            if one.faults:
                failed = middle
            else:
                passed = middle
