"""Models of GPS traces and other series, window by window."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import SequenceInput
from edgehaul.config.recipe import SequenceRecipe
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.motion.windows import to_tensor
from edgehaul.vision.verdicts import ANOMALY_LABEL, NORMAL_LABEL, anomaly_score, named_values
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan
from edgehaul_tools.evaluate.anomalies import anomaly_warnings, reported_confusion
from edgehaul_tools.evaluate.candidates import Candidate
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.classifiers import (
    class_confusion,
    class_rows,
    no_answers,
    probabilities_of,
)
from edgehaul_tools.evaluate.examined import Examined, Exhibit, SliceOf
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.evaluate.regression import RegressionScores
from edgehaul_tools.evaluate.result import Events
from edgehaul_tools.evaluate.spans import REPORT_DELAY_S, is_report_of, joined, match_spans
from edgehaul_tools.evaluate.track_drawing import draw_series, draw_track
from edgehaul_tools.train.sequence.moves import MOVE_LABELS, load_moves
from edgehaul_tools.train.sequence.windows import (
    UNDECIDED,
    Recording,
    check_any,
    cut_windows,
    load_surprises,
    load_windows,
    unscaled_input,
)

FEWEST_RECORDINGS = 5
"""With fewer recordings stretches of them are resampled, else whole recordings."""
_STRETCHES = 20
_HOURS = {"night": range(6), "morning": range(6, 12), "afternoon": range(12, 18)}
_EVENING = "evening"
_WORST = "Recordings with the most mistakes"


@dataclass(frozen=True, eq=False)
class _Cut:
    """The windows of all recordings.

    Attributes:
        features: (n, window, F) in their own units.
        classes: (n,) with ``UNDECIDED`` among them.
        ended_at_s: (n,) times of the last steps.
        recording: (n,) index of the recording.
    """

    features: NDArray[np.float32]
    classes: NDArray[np.int64]
    ended_at_s: NDArray[np.float64]
    recording: NDArray[np.int64]


def examine_sequence(
    candidate: Candidate,
    recordings: Sequence[Recording],
    val: Sequence[Recording] | None,
    kinds: Collection[str],
) -> Examined:
    """Run a model on every window of all recordings and measure it.

    Args:
        candidate: The model; its head says what is measured.
        recordings: Trips or series.
        val: Recordings to fit a temperature on, where that is asked for.
        kinds: Slices that are asked for.

    Raises:
        DatasetError: No recording holds a window, or nothing can be measured by.
        SpecMismatchError: The model is none for these recordings.
        ModelError: It cannot be run.
    """
    head = candidate.spec.output.head
    if head == "regress":
        return _examine_moves(candidate, recordings, kinds)
    if head == "sequence":
        return _examine_classes(candidate, recordings, val, kinds)
    return _examine_surprises(candidate, recordings, kinds)


def stretches(recording: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], str]:
    """Return what is resampled together, and what that is.

    Args:
        recording: (n,) which recording each window is from.
        count: Number of recordings.
    """
    if count >= FEWEST_RECORDINGS:
        return recording, "recording"
    units = np.empty(len(recording), dtype=np.int64)
    for number in range(count):
        places = np.flatnonzero(recording == number)
        units[places] = number * _STRETCHES + np.arange(len(places)) * _STRETCHES // max(
            1, len(places)
        )
    return np.unique(units, return_inverse=True)[1].astype(np.int64), "stretch"


def _examine_classes(
    candidate: Candidate,
    recordings: Sequence[Recording],
    val: Sequence[Recording] | None,
    kinds: Collection[str],
) -> Examined:
    recipe, labels = _recipe(candidate), candidate.spec.output.labels
    cut = _cut(recordings, recipe, partial(load_windows, recipe=recipe, labels=labels))
    probabilities = _run(candidate, cut.features, partial(probabilities_of, candidate=candidate))
    decided = cut.classes != UNDECIDED
    if not decided.any():
        raise DatasetError("no window of these recordings has a class that the model knows")
    normal = labels.index(recipe.normal_label) if recipe.normal_label in labels else -1
    units = stretches(cut.recording, len(recordings))[0]
    every = ClassScores(units, cut.classes, probabilities, normal)
    scores = replace(
        every,
        units=units[decided],
        true=cut.classes[decided],
        probabilities=probabilities[decided],
    )
    reports = _reports(candidate, recordings, cut, every, recipe) if normal >= 0 else None
    fit_on = None
    if val:
        other = _cut(val, recipe, partial(load_windows, recipe=recipe, labels=labels))
        kept = other.classes != UNDECIDED
        answers = partial(probabilities_of, candidate=candidate)
        fit_on = (_run(candidate, other.features[kept], answers), other.classes[kept])
    known = set(labels)
    left = sorted({s.label for r in recordings for s in _spans(r)} - known)
    warnings = no_answers(scores)
    if left:
        warnings += (f"the model does not know {', '.join(left)}: these events are left out",)
    return Examined(
        candidate=candidate,
        labels=labels,
        scores=scores,
        main="event_f1" if normal >= 0 else "macro_f1",
        names=tuple(recordings[i].name for i in cut.recording[decided]),
        slices=_slices(recordings, cut, decided, kinds),
        classes=class_rows(scores, labels),
        confusion=class_confusion(scores, labels),
        events=_events(reports, recordings, recipe, known, cut) if reports else None,
        fit_on=fit_on,
        exhibits=partial(_exhibits, recordings, reports, recipe, known) if reports else _none,
        warnings=warnings,
    )


def _examine_surprises(
    candidate: Candidate, recordings: Sequence[Recording], kinds: Collection[str]
) -> Examined:
    recipe = _recipe(candidate)
    cut = _cut(recordings, recipe, partial(load_surprises, recipe=recipe))
    canvas = _canvas(candidate)
    raw = np.array(
        [
            anomaly_score(candidate.run(tensor), tensor, candidate.spec)
            for tensor in (to_tensor(window, canvas) for window in cut.features)
        ]
    )
    decided = cut.classes != UNDECIDED
    if not decided.any():
        raise DatasetError("no window of these recordings is either normal or not")
    threshold = candidate.spec.output.score_threshold
    units = stretches(cut.recording, len(recordings))[0]
    scores = AnomalyScores(units[decided], cut.classes[decided] == 1, raw[decided], threshold)
    reports = []
    for number in range(len(recordings)):
        own = cut.recording == number
        said = [ANOMALY_LABEL if score >= threshold else NORMAL_LABEL for score in raw[own]]
        reports.append(joined(said, cut.ended_at_s[own], recipe.interval_s, NORMAL_LABEL))
    alike = [_as_anomalies(r, recipe) for r in recordings]
    known = {ANOMALY_LABEL}
    return Examined(
        candidate=candidate,
        labels=("normal", "anomaly"),
        scores=scores,
        main="auroc",
        names=tuple(recordings[i].name for i in cut.recording[decided]),
        slices=_slices(recordings, cut, decided, kinds),
        confusion=reported_confusion(scores),
        events=_events(reports, alike, recipe, known, cut),
        exhibits=partial(_exhibits, alike, reports, recipe, known),
        warnings=anomaly_warnings(scores),
    )


def _examine_moves(
    candidate: Candidate, recordings: Sequence[Recording], kinds: Collection[str]
) -> Examined:
    labels = candidate.spec.output.labels
    if labels != MOVE_LABELS:
        raise SpecMismatchError(
            f"the model answers with {', '.join(labels)}, of which the recordings do not tell "
            "the truth",
            where=candidate.path,
            remedy=f"only {', '.join(MOVE_LABELS)} can be measured (goal 'next_position')",
        )
    recipe = _recipe(candidate)
    sets = [load_moves([recording], recipe) for recording in recordings]
    check_any(sum(map(len, sets)), recipe, recordings)
    number = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    features = np.concatenate([one.features for one in sets])
    true = np.concatenate([one.moves_m for one in sets]).astype(np.float64)
    straight = np.concatenate([one.constant_velocity_m for one in sets]).astype(np.float64)

    def values(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        return np.array([named_values(outputs, candidate.spec)[label] for label in labels])

    answered = _run(candidate, features, values)
    units = stretches(number, len(recordings))[0]
    scores = RegressionScores(units, labels, true, answered)
    naive = RegressionScores(units, labels, true, straight).figures(np.ones(len(true)))
    lost = int((~np.isfinite(answered).all(axis=1)).sum())
    warnings = (f"{lost} answers are no numbers and left out of the errors",) if lost else ()
    return Examined(
        candidate=candidate,
        labels=labels,
        scores=scores,
        main="mae",
        names=tuple(recordings[i].name for i in number),
        slices=_trip_slices(recordings, number, kinds),
        extra={f"constant_velocity_{name}": naive[name] for name in ("mae", "rmse")},
        warnings=warnings,
    )


def _recipe(candidate: Candidate) -> SequenceRecipe:
    """Return the recipe that says when a window has which label; without one the usual one."""
    if candidate.recipe is not None and candidate.recipe.sequence is not None:
        recipe, canvas = candidate.recipe.sequence, _canvas(candidate)
        return _like(canvas, recipe.decision_s, recipe.overlap_s, candidate, recipe.normal_label)
    canvas, usual = _canvas(candidate), SequenceRecipe()
    span_s = canvas.window * canvas.interval_s
    decision_s = max(min(usual.decision_s, span_s), canvas.interval_s)
    normal = candidate.spec.output.normal_label or usual.normal_label
    return _like(canvas, decision_s, min(usual.overlap_s, decision_s), candidate, normal)


def _like(
    canvas: SequenceInput, decision_s: float, overlap_s: float, candidate: Candidate, normal: str
) -> SequenceRecipe:
    return SequenceRecipe(
        features=canvas.features,
        window=canvas.window,
        interval_s=canvas.interval_s,
        hop=1,
        normal_label=normal,
        decision_s=decision_s,
        overlap_s=overlap_s,
        horizon_s=candidate.spec.output.horizon_s or SequenceRecipe().horizon_s,
    )


def _canvas(candidate: Candidate) -> SequenceInput:
    if not isinstance(candidate.spec.input, SequenceInput):
        raise SpecMismatchError(
            "this model takes pictures, and these are recordings", where=candidate.path
        )
    return candidate.spec.input


def _cut(
    recordings: Sequence[Recording], recipe: SequenceRecipe, load: Callable[..., object]
) -> _Cut:
    features, classes, ended_at_s, numbers = [], [], [], []
    for number, recording in enumerate(recordings):
        windows = load([recording])
        features.append(windows.features)  # type: ignore[attr-defined]  # see above
        classes.append(windows.classes)  # type: ignore[attr-defined]  # see above
        ended_at_s.append(cut_windows(recording, unscaled_input(recipe)).ended_at_s)
        numbers.append(np.full(len(classes[-1]), number, dtype=np.int64))
    check_any(sum(map(len, classes)), recipe, recordings)
    return _Cut(*(np.concatenate(part) for part in (features, classes, ended_at_s, numbers)))


def _run(
    candidate: Candidate,
    features: NDArray[np.float32],
    answer: Callable[[Sequence[NDArray[np.float32]]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    canvas = _canvas(candidate)
    rows = [answer(candidate.run(to_tensor(window, canvas))) for window in features]
    return np.array(rows).reshape(len(features), -1)


def _reports(
    candidate: Candidate,
    recordings: Sequence[Recording],
    cut: _Cut,
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


def _delay_s(recipe: SequenceRecipe) -> float:
    return max(REPORT_DELAY_S, 2 * recipe.interval_s)


def _events(
    reports: Sequence[Sequence[AnomalySpan]],
    recordings: Sequence[Recording],
    recipe: SequenceRecipe,
    known: Collection[str],
    cut: _Cut,
) -> Events:
    found = true = alarms = 0
    for said, recording in zip(reports, recordings, strict=True):
        spans = _events_of(recording, recipe, known)
        matched, false_alarms = match_spans(said, spans, _delay_s(recipe))
        found, true, alarms = found + matched, true + len(spans), alarms + false_alarms
    hours = len(cut.ended_at_s) * recipe.interval_s / 3600
    return Events(true, found, sum(map(len, reports)), alarms, round(hours, 3))


def _events_of(
    recording: Recording, recipe: SequenceRecipe, known: Collection[str]
) -> list[AnomalySpan]:
    return [s for s in _spans(recording) if s.label in known and s.label != recipe.normal_label]


def _as_anomalies(recording: Recording, recipe: SequenceRecipe) -> Recording:
    """Return a recording whose events are all called the same: the model tells no kinds."""
    spans = tuple(
        replace(span, label=ANOMALY_LABEL)
        for span in _spans(recording)
        if span.label != recipe.normal_label
    )
    if isinstance(recording, Series):
        return replace(recording, spans=spans)
    return replace(recording, anomalies=spans)


def _spans(recording: Recording) -> tuple[AnomalySpan, ...]:
    return recording.spans if isinstance(recording, Series) else recording.anomalies


def _slices(
    recordings: Sequence[Recording], cut: _Cut, decided: NDArray[np.bool_], kinds: Collection[str]
) -> tuple[SliceOf, ...]:
    found = list(_trip_slices(recordings, cut.recording[decided], kinds))
    if "hour" in kinds:
        hours = (cut.ended_at_s[decided] // 3600 % 24).astype(np.int64)
        names = np.array([next((n for n, h in _HOURS.items() if v in h), _EVENING) for v in hours])
        for name, count in sorted(Counter(names.tolist()).items()):
            found.append(SliceOf("hour", f"{name} (UTC)", names == name, count))
    hour_slices = [part for part in found if part.kind == "hour"]
    return tuple(part for part in found if part.kind != "hour" or len(hour_slices) > 1)


def _trip_slices(
    recordings: Sequence[Recording], number: NDArray[np.int64], kinds: Collection[str]
) -> tuple[SliceOf, ...]:
    if "trip" not in kinds or len(recordings) < 2:  # noqa: PLR2004 - one is no part
        return ()
    parts = (
        SliceOf("trip", recording.name, number == i, int((number == i).sum()))
        for i, recording in enumerate(recordings)
    )
    return tuple(part for part in parts if part.samples)


def _exhibits(
    recordings: Sequence[Recording],
    reports: Sequence[Sequence[AnomalySpan]],
    recipe: SequenceRecipe,
    known: Collection[str],
    limit: int,
) -> list[Exhibit]:
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


def _none(_limit: int) -> list[Exhibit]:
    return []
