"""Events over time: those that happened beside those that were reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.dataset.traces import AnomalySpan

REPORT_DELAY_S = 10.0
"""How long after an event its report may still begin: a window must have seen it."""


class Span(Protocol):
    """Something that lasts."""

    @property
    def label(self) -> str:
        """What."""
        ...

    @property
    def started_at_s(self) -> float:
        """UTC seconds of its beginning."""
        ...

    @property
    def ended_at_s(self) -> float:
        """UTC seconds of its end."""
        ...


def is_report_of(report: Span, truth: Span, delay_s: float = REPORT_DELAY_S) -> bool:
    """Return whether a report is of the same kind as an event and overlaps it.

    Args:
        report: What was reported.
        truth: What happened.
        delay_s: How long after its end a report may still begin.
    """
    return (
        report.label == truth.label
        and report.started_at_s <= truth.ended_at_s + delay_s
        and report.ended_at_s >= truth.started_at_s
    )


def match_spans(
    found: Sequence[Span], true: Sequence[Span], delay_s: float = REPORT_DELAY_S
) -> tuple[int, int]:
    """Count the true events that a report is of, and the false alarms.

    Args:
        found: Reported events.
        true: Events that happened.
        delay_s: How long after an event its report may still begin.

    Returns:
        Number of true events that were found, number of reports that are of none.
    """
    matched = sum(any(is_report_of(f, t, delay_s) for f in found) for t in true)
    false_alarms = sum(not any(is_report_of(f, t, delay_s) for t in true) for f in found)
    return matched, false_alarms


def joined(
    labels: Sequence[str], ended_at_s: NDArray[np.float64], interval_s: float, quiet: str
) -> list[AnomalySpan]:
    """Return reports made of windows: those that follow each other with the same label.

    Args:
        labels: (n,) what each window is reported as.
        ended_at_s: (n,) ends of the windows, rising.
        interval_s: Time between two windows.
        quiet: Label of windows that are not reported.
    """
    spans: list[AnomalySpan] = []
    for label, end_s in zip(labels, ended_at_s.tolist(), strict=True):
        if label == quiet:
            continue
        last = spans[-1] if spans else None
        if last and last.label == label and end_s - last.ended_at_s <= 1.5 * interval_s:
            spans[-1] = AnomalySpan(label, last.started_at_s, end_s)
        else:
            spans.append(AnomalySpan(label, end_s - interval_s, end_s))
    return spans
