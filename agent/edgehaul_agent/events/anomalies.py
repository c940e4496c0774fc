"""Windows that a model finds unusual, merged into one event for each span of time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgehaul.clock import format_utc
from edgehaul.messages.payloads import AnomalyEvent
from edgehaul.values import Fix


@dataclass(slots=True)
class _Span:
    label: str
    score: float
    started_at_s: float
    ended_at_s: float
    worst: Fix | None


class AnomalyMerger:
    """Joins judged windows of one stream that follow each other under one label.

    Args:
        model: Name of the model, for the events.
        normal_label: The label that is no anomaly.
        least_score: Windows below it count as normal.
        quiet_windows: Number of normal windows in a row that end a span.
    """

    def __init__(
        self, model: str, *, normal_label: str, least_score: float, quiet_windows: int = 2
    ) -> None:
        self._model = model
        self._normal_label = normal_label
        self._least_score = least_score
        self._quiet_windows = quiet_windows
        self._span: _Span | None = None
        self._quiet = 0
        self._last_ended_at_s = math.inf

    def update(
        self, label: str, score: float, *, started_at_s: float, ended_at_s: float, fix: Fix | None
    ) -> list[AnomalyEvent]:
        """Take in the next verdict and return the spans that it ended.

        A pause between two verdicts, as after an outage, ends a span, and so does a clock that
        is set back.

        Args:
            label: The most likely label.
            score: Its score.
            started_at_s: Start of the stretch of time that the verdict is about, UTC seconds.
            ended_at_s: End of it.
            fix: Where the device was.
        """
        slack_s = (ended_at_s - started_at_s) / 2
        follows = abs(started_at_s - self._last_ended_at_s) <= slack_s
        done = [] if follows else self.close()
        self._last_ended_at_s = ended_at_s
        if label == self._normal_label or score < self._least_score:
            self._quiet += 1
            return done + (self.close() if self._quiet >= self._quiet_windows else [])
        self._quiet = 0
        span = self._span
        if span is None or span.label != label:
            done += self.close()
            self._span = _Span(label, score, started_at_s, ended_at_s, fix)
            return done
        span.ended_at_s = max(span.ended_at_s, ended_at_s)
        if score > span.score:
            span.score, span.worst = score, fix
        return done

    def close(self) -> list[AnomalyEvent]:
        """End the span under way, as at the end of a trace, and return it."""
        span, self._span, self._quiet = self._span, None, 0
        if span is None:
            return []
        return [
            AnomalyEvent(
                label=span.label,
                score=round(span.score, 4),
                started_at=format_utc(span.started_at_s),
                ended_at=format_utc(span.ended_at_s),
                model=self._model,
                position=span.worst,
            )
        ]
