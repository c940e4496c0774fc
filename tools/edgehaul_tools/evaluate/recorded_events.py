"""What trace models report as events, beside those that happened, and parts of recordings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgehaul.config.recipe import SequenceRecipe
from edgehaul.vision.verdicts import ANOMALY_LABEL
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.examined import Exhibit, SliceOf
from edgehaul_tools.evaluate.result import Events
from edgehaul_tools.evaluate.spans import REPORT_DELAY_S, is_report_of, joined, match_spans
from edgehaul_tools.evaluate.track_drawing import draw_series, draw_track
from edgehaul_tools.evaluate.windowed import Cut
from edgehaul_tools.train.sequence.windows import Recording

_HOURS = {"night": range(6), "morning": range(6, 12), "afternoon": range(12, 18)}
_EVENING = "evening"
_WORST = "Recordings with the most mistakes"


def class_reports(
    candidate: Candidate,
    recordings: Sequence[Recording],
    cut: Cut,
    scores: ClassScores,
    recipe: SequenceRecipe,
) -> list[list[AnomalySpan]]:
    """Return what the model reports of each recording: answers from its threshold on."""
    labels, threshold = candidate.spec.output.labels, candidate.spec.output.score_threshold
    sure = scores.confidence >= threshold
    said = np.where(sure & (scores.answered >= 0), scores.answered, scores.normal)
    reports = []
    for number in range(len(recordings)):
        own = cut.recording == number
        names = [labels[c] for c in said[own]]
        ended_at_s = cut.ended_at_s[own]
        reports.append(joined(names, ended_at_s, recipe.interval_s, recipe.normal_label))
    return reports


def count_events(
    reports: Sequence[Sequence[AnomalySpan]],
    recordings: Sequence[Recording],
    recipe: SequenceRecipe,
    known: Collection[str],
    cut: Cut,
) -> Events:
    """Count the events of all recordings, and what the reports make of them."""
    found = true = alarms = 0
    for said, recording in zip(reports, recordings, strict=True):
        spans = _events_of(recording, recipe, known)
        matched, false_alarms = match_spans(said, spans, _delay_s(recipe))
        found, true, alarms = found + matched, true + len(spans), alarms + false_alarms
    hours = len(cut.ended_at_s) * recipe.interval_s / 3600
    return Events(true, found, sum(map(len, reports)), alarms, round(hours, 3))


def as_anomalies(recording: Recording, recipe: SequenceRecipe) -> Recording:
    """Return a recording whose events are all called the same: the model tells no kinds."""
    spans = tuple(
        replace(span, label=ANOMALY_LABEL)
        for span in spans_of(recording)
        if span.label != recipe.normal_label
    )
    if isinstance(recording, Series):
        return replace(recording, spans=spans)
    return replace(recording, anomalies=spans)


def spans_of(recording: Recording) -> tuple[AnomalySpan, ...]:
    """Return what happened in a recording, and when."""
    return recording.spans if isinstance(recording, Series) else recording.anomalies


def window_slices(
    recordings: Sequence[Recording], cut: Cut, decided: NDArray[np.bool_], kinds: Collection[str]
) -> tuple[SliceOf, ...]:
    """Return parts of the decided windows: by trip, and by the time of day."""
    found = list(trip_slices(recordings, cut.recording[decided], kinds))
    if "hour" in kinds:
        hours = (cut.ended_at_s[decided] // 3600 % 24).astype(np.int64)
        names = np.array([next((n for n, h in _HOURS.items() if v in h), _EVENING) for v in hours])
        for name, count in sorted(Counter(names.tolist()).items()):
            found.append(SliceOf("hour", f"{name} (UTC)", names == name, count))
    hour_slices = [part for part in found if part.kind == "hour"]
    return tuple(part for part in found if part.kind != "hour" or len(hour_slices) > 1)


def trip_slices(
    recordings: Sequence[Recording], number: NDArray[np.int64], kinds: Collection[str]
) -> tuple[SliceOf, ...]:
    """Return the windows of each recording, given the recording of each window."""
    if "recording" not in kinds or len(recordings) < 2:  # noqa: PLR2004 - one is no part
        return ()
    parts = (
        SliceOf("recording", recording.name, number == i, int((number == i).sum()))
        for i, recording in enumerate(recordings)
    )
    return tuple(part for part in parts if part.samples)


def worst_recordings(
    recordings: Sequence[Recording],
    reports: Sequence[Sequence[AnomalySpan]],
    recipe: SequenceRecipe,
    known: Collection[str],
    limit: int,
) -> list[Exhibit]:
    """Draw the recordings with the most missed events and false alarms."""
    delay_s, rows = _delay_s(recipe), []
    for recording, said in zip(recordings, reports, strict=True):
        spans = _events_of(recording, recipe, known)
        missed = [t for t in spans if not any(is_report_of(f, t, delay_s) for f in said)]
        false = [f for f in said if not any(is_report_of(f, t, delay_s) for t in spans)]
        rows.append((len(missed) + len(false), recording, spans, said, missed, false))
    shown = []
    for _, recording, spans, said, missed, false in sorted(rows, key=lambda r: -r[0])[:limit]:
        draw = draw_series if isinstance(recording, Series) else draw_track
        caption = (
            f"{recording.name}: {len(spans)} events, {len(missed)} of them missed; "
            f"{len(said)} reports, {len(false)} of them false alarms"
        )
        shown.append(Exhibit(_WORST, caption, svg=draw(recording, spans, said)))  # type: ignore[arg-type]  # chosen by its type
    return shown


def _delay_s(recipe: SequenceRecipe) -> float:
    return max(REPORT_DELAY_S, 2 * recipe.interval_s)


def _events_of(
    recording: Recording, recipe: SequenceRecipe, known: Collection[str]
) -> list[AnomalySpan]:
    return [s for s in spans_of(recording) if s.label in known and s.label != recipe.normal_label]
