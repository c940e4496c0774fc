"""Models of GPS traces and other series, window by window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from edgehaul.motion.windows import to_tensor
from edgehaul.vision.verdicts import ANOMALY_LABEL, NORMAL_LABEL, anomaly_score
from edgehaul_tools.evaluate.anomalies import anomaly_warnings, reported_confusion
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.classifiers import (
    class_confusion,
    class_rows,
    no_answers,
    probabilities_of,
)
from edgehaul_tools.evaluate.examined import Examined, no_exhibits
from edgehaul_tools.evaluate.labelled_windows import (
    class_windows,
    main_of_classes,
    move_answer,
    moved_windows,
    normal_class,
    surprise_windows,
)
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.evaluate.recorded_events import (
    as_anomalies,
    class_reports,
    count_events,
    spans_of,
    trip_slices,
    window_slices,
    worst_recordings,
)
from edgehaul_tools.evaluate.regression import RegressionScores
from edgehaul_tools.evaluate.spans import joined
from edgehaul_tools.evaluate.windowed import canvas_of, cut_all, run_windows
from edgehaul_tools.train.sequence.windows import UNDECIDED, Recording, load_windows


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


def _examine_classes(
    candidate: Candidate,
    recordings: Sequence[Recording],
    val: Sequence[Recording] | None,
    kinds: Collection[str],
) -> Examined:
    windows, labels = class_windows(candidate, recordings), candidate.spec.output.labels
    recipe, cut, decided, units = windows.recipe, windows.cut, windows.decided, windows.units
    probabilities = run_windows(
        candidate, cut.features, partial(probabilities_of, candidate=candidate)
    )
    normal = normal_class(recipe, labels)
    every = ClassScores(units, cut.classes, probabilities, normal)
    scores = replace(
        every,
        units=units[decided],
        true=cut.classes[decided],
        probabilities=probabilities[decided],
    )
    reports = class_reports(candidate, recordings, cut, every, recipe) if normal >= 0 else None
    fit_on = None
    if val:
        other = cut_all(val, recipe, partial(load_windows, recipe=recipe, labels=labels))
        kept = other.classes != UNDECIDED
        answers = partial(probabilities_of, candidate=candidate)
        fit_on = (run_windows(candidate, other.features[kept], answers), other.classes[kept])
    known = set(labels)
    left = sorted({s.label for r in recordings for s in spans_of(r)} - known)
    warnings = no_answers(scores)
    if left:
        warnings += (f"the model does not know {', '.join(left)}: these events are left out",)
    return Examined(
        candidate=candidate,
        labels=labels,
        scores=scores,
        main=main_of_classes(normal),
        names=tuple(recordings[i].name for i in cut.recording[decided]),
        slices=window_slices(recordings, cut, decided, kinds),
        classes=class_rows(scores, labels),
        confusion=class_confusion(scores, labels),
        events=count_events(reports, recordings, recipe, known, cut) if reports else None,
        fit_on=fit_on,
        exhibits=partial(worst_recordings, recordings, reports, recipe, known)
        if reports
        else no_exhibits,
        warnings=warnings,
    )


def _examine_surprises(
    candidate: Candidate, recordings: Sequence[Recording], kinds: Collection[str]
) -> Examined:
    windows = surprise_windows(candidate, recordings)
    recipe, cut, decided, units = windows.recipe, windows.cut, windows.decided, windows.units
    canvas = canvas_of(candidate)
    raw = np.array(
        [
            anomaly_score(candidate.run(tensor), tensor, candidate.spec)
            for tensor in (to_tensor(window, canvas) for window in cut.features)
        ]
    )
    threshold = candidate.spec.output.score_threshold
    scores = AnomalyScores(units[decided], cut.classes[decided] == 1, raw[decided], threshold)
    reports = []
    for number in range(len(recordings)):
        own = cut.recording == number
        said = [ANOMALY_LABEL if score >= threshold else NORMAL_LABEL for score in raw[own]]
        reports.append(joined(said, cut.ended_at_s[own], recipe.interval_s, NORMAL_LABEL))
    alike = [as_anomalies(r, recipe) for r in recordings]
    known = {ANOMALY_LABEL}
    return Examined(
        candidate=candidate,
        labels=("normal", "anomaly"),
        scores=scores,
        main="auroc",
        names=tuple(recordings[i].name for i in cut.recording[decided]),
        slices=window_slices(recordings, cut, decided, kinds),
        confusion=reported_confusion(scores),
        events=count_events(reports, alike, recipe, known, cut),
        exhibits=partial(worst_recordings, alike, reports, recipe, known),
        warnings=anomaly_warnings(scores),
    )


def _examine_moves(
    candidate: Candidate, recordings: Sequence[Recording], kinds: Collection[str]
) -> Examined:
    windows, labels = moved_windows(candidate, recordings), candidate.spec.output.labels
    answered = run_windows(candidate, windows.features, partial(move_answer, spec=candidate.spec))
    scores = RegressionScores(windows.units, labels, windows.moves_m, answered)
    true, number = windows.moves_m, windows.recording
    naive = RegressionScores(windows.units, labels, true, windows.straight_m).figures(
        np.ones(len(true))
    )
    lost = int((~np.isfinite(answered).all(axis=1)).sum())
    warnings = (f"{lost} answers are no numbers and left out of the errors",) if lost else ()
    return Examined(
        candidate=candidate,
        labels=labels,
        scores=scores,
        main="mae",
        names=tuple(recordings[int(i)].name for i in number),
        slices=trip_slices(recordings, number, kinds),
        extra={f"constant_velocity_{name}": naive[name] for name in ("mae", "rmse")},
        warnings=warnings,
    )
