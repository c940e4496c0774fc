"""What a variant must reach, and why one does not."""

from __future__ import annotations

import msgspec

from edgehaul_tools.evaluate.examined import LOWER_IS_BETTER
from edgehaul_tools.evaluate.result_tables import figure_name
from edgehaul_tools.verify.agreement import METRIC
from edgehaul_tools.verify.measure import Measured

_CORRECT = "correct the labels' names, the spec or the data"
_NOT_SURE = "there is no interval, so nothing is sure: give more samples, or leave out --sure"


class Gate(msgspec.Struct, frozen=True):
    """What a variant must reach.

    Attributes:
        max_drop: Largest loss of the metric against fp32 on labelled data, as a fraction: 0.01
            is one point; of errors, such as those of places, growth by 1 %.
        min_agreement: Least agreement with fp32 where the data has no labels.
        sure: Whether the end of the 95 % interval must be within the gate, too, not only the
            figure itself.
    """

    max_drop: float = 0.01
    min_agreement: float = 0.95
    sure: bool = False


def failures_of(measured: Measured, gate: Gate) -> list[str]:
    """Return why a variant does not pass, with the figures; empty where it does."""
    failures = []
    if measured.lost > measured.lost_by_fp32:
        failures.append(
            f"{measured.lost} of {measured.samples} answers are no numbers "
            f"({measured.lost_by_fp32} of fp32's)"
        )
    if measured.metric == METRIC:
        return failures + _disagreements(measured, gate)
    return failures + _losses(measured, gate)


def shown_loss(metric: str, loss: float) -> str:
    """Return a loss as people read it: points of a share as a fraction, growth of an error in %."""
    return f"{100 * loss:.1f} %" if metric in LOWER_IS_BETTER else f"{loss:.4f}"


def _losses(measured: Measured, gate: Gate) -> list[str]:
    metric, drop = measured.metric, measured.drop
    name, most = figure_name(metric), _limit(metric, gate.max_drop)
    if metric not in LOWER_IS_BETTER and measured.fp32 <= 0:
        return [f"{name} of fp32 itself is 0 on these samples, so nothing is proved: {_CORRECT}"]
    if drop.value is None:
        return [f"{name} is undefined, and that of fp32 is {measured.fp32:.4f}"]
    verb = "grows" if metric in LOWER_IS_BETTER else "drops"
    if not drop.value <= gate.max_drop:  # a gate that is no number is not met
        interval = ""
        if drop.low is not None and drop.high is not None:
            ends = shown_loss(metric, drop.low), shown_loss(metric, drop.high)
            interval = f" (95 % interval {ends[0]} to {ends[1]})"
        return [f"{name} {verb} by {shown_loss(metric, drop.value)}{interval}, more than {most}"]
    if gate.sure and drop.high is None:
        return [_NOT_SURE]
    if gate.sure and not (drop.high or 0.0) <= gate.max_drop:
        high = shown_loss(metric, drop.high or 0.0)
        return [f"{name} {verb} by up to {high} (95 % interval), more than {most}"]
    return []


def _disagreements(measured: Measured, gate: Gate) -> list[str]:
    agreement, most = measured.agreement, f"{gate.min_agreement:g}"
    if not agreement.matched + agreement.only_fp32 + agreement.only_variant:
        nothing = f"nothing was found in any of {agreement.inputs} inputs, so nothing is proved"
        return [f"{nothing}: correct the spec, or give inputs with objects in them"]
    if not agreement.f1 >= gate.min_agreement:
        return [f"agreement with fp32 is {agreement.f1:.3f}, less than {most}"]
    high = measured.drop.high
    if gate.sure and high is None:
        return [_NOT_SURE]
    if gate.sure and not 1 - (high or 0.0) >= gate.min_agreement:
        least = f"{1 - (high or 0.0):.3f}"
        return [f"agreement with fp32 may be {least} (95 % interval), less than {most}"]
    return []


def _limit(metric: str, max_drop: float) -> str:
    return f"{100 * max_drop:g} %" if metric in LOWER_IS_BETTER else f"{max_drop:g}"
