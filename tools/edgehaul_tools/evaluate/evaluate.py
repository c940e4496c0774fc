"""Measure models on labelled data: run them, resample, slice, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul import __version__
from edgehaul.bundle.spec import SequenceInput
from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate.anomalies import anomaly_points, examine_anomalies
from edgehaul_tools.evaluate.bootstrap import Estimate, draws_of, estimate, estimates_of
from edgehaul_tools.evaluate.calibrate import calibrate
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.candidates import is_run
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.classifiers import examine_classifier, known_pictures
from edgehaul_tools.evaluate.compare import Draws, compare_all, require_comparable
from edgehaul_tools.evaluate.detection import DetectionScores
from edgehaul_tools.evaluate.detectors import detector_points, examine_detector, shared_classes
from edgehaul_tools.evaluate.examined import Examined
from edgehaul_tools.evaluate.material import (
    Material,
    Pictures,
    Recordings,
    learnt_from,
    read_pictures,
    read_recordings,
)
from edgehaul_tools.evaluate.picture_slices import units_of
from edgehaul_tools.evaluate.ranking import AnomalyScores, OperatingPoint
from edgehaul_tools.evaluate.recordings import examine_sequence
from edgehaul_tools.evaluate.result import Evaluation, ModelResult, Slice, plural
from edgehaul_tools.evaluate.windowed import FEWEST_RECORDINGS

SLICES = ("camera", "light", "size", "recording", "hour")
_SLICE_RESAMPLES = 200
_THIN_UNITS = 10
_THIN_SAMPLES = 30

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How models are measured.

    Attributes:
        part: See :func:`read_pictures`.
        split_from: Run directory that says what was learnt from.
        compare: Whether each pair of models is compared.
        slices: Kinds of parts to look at.
        resamples: For the intervals; 0 leaves them out.
        seed: Of the resamples.
        calibrate: Whether a temperature is fitted to classifiers.
        normal: Class of normal pictures, for anomaly models.
    """

    part: str = ""
    split_from: Path | None = None
    compare: bool = False
    slices: frozenset[str] = frozenset(SLICES)
    resamples: int = 1000
    seed: int = 0
    calibrate: bool = False
    normal: str = ""


@dataclass(frozen=True, eq=False)
class Measured:
    """An evaluation, and what the page shows beside it.

    Attributes:
        evaluation: What ``report.json`` keeps.
        examined: The answers of each model.
    """

    evaluation: Evaluation
    examined: tuple[Examined, ...]


@dataclass(frozen=True, eq=False)
class _Answers:
    """What all models answered, and on what."""

    examined: tuple[Examined, ...]
    material: Material[DetectionDataset] | Recordings
    unit: str
    same_part: bool = True
    notes: tuple[str, ...] = field(default=())


def evaluate_models(
    candidates: Sequence[Candidate],
    data: Path,
    options: Options,
    progress: Progress = lambda _line: None,
) -> Measured:
    """Measure models on a dataset.

    Args:
        candidates: The models, all for the same task.
        data: The dataset, with labels.
        options: How.
        progress: Told what is done, in words.

    Raises:
        DatasetError: The dataset is unusable, or its part is empty.
        ModelError: A model cannot be run, or is none for this dataset.
        UsageError: Models cannot be compared.
    """
    if options.compare:
        require_comparable(candidates)
    sequences = isinstance(candidates[0].spec.input, SequenceInput)
    examine = _examine_recordings if sequences else _examine_pictures
    answers = examine(candidates, data, options, progress)
    if options.resamples:
        progress(f"resampling {options.resamples} times")
    draws = [draws_of(e.scores, options.resamples, options.seed) for e in answers.examined]
    models = tuple(
        _result(e, d, options, same_part=answers.same_part)
        for e, d in zip(answers.examined, draws, strict=True)
    )
    units = answers.examined[0].scores.units
    evaluation = Evaluation(
        edgehaul=__version__,
        data=str(data),
        part=answers.material.part,
        samples=len(units),
        unit=answers.unit,
        units=len(np.unique(units)),
        resamples=options.resamples,
        seed=options.seed,
        models=models,
        comparisons=compare_all(answers.examined, draws) if options.compare else (),
        warnings=(
            *answers.material.notes,
            *answers.notes,
            *_leaks(answers),
            *_few_units(units, answers.unit),
        ),
    )
    return Measured(evaluation, answers.examined)


def _examine_pictures(
    candidates: Sequence[Candidate], data: Path, options: Options, progress: Progress
) -> _Answers:
    material: Pictures = read_pictures(data, options.part, options.split_from)
    dataset, task = material.content, candidates[0].spec.task
    notes: tuple[str, ...] = ()
    if not dataset.labels:
        raise DatasetError(
            "these pictures are not labelled", where=data, remedy="add COCO, YOLO or VOC labels"
        )
    val = material.val if material.part != "val" else None
    if task == "detect":
        dataset, notes = shared_classes(dataset, candidates)
    elif task == "classify":
        dataset, notes = known_pictures(dataset, candidates)
        fit_on = known_pictures(val or material.content, candidates)[0]
    examined = []
    for candidate in candidates:
        progress(f"{candidate.name}: {len(dataset)} pictures")
        if task == "detect":
            examined.append(examine_detector(candidate, dataset, options.slices))
        elif task == "classify":
            on = fit_on if options.calibrate else None
            examined.append(examine_classifier(candidate, dataset, on, options.slices))
        else:
            examined.append(examine_anomalies(candidate, dataset, options.normal, options.slices))
    unit = units_of(dataset.samples)[1]
    return _Answers(tuple(examined), material, unit, val is None, notes)


def _examine_recordings(
    candidates: Sequence[Candidate], data: Path, options: Options, progress: Progress
) -> _Answers:
    material = read_recordings(data, options.part, options.split_from)
    val = material.val if material.part != "val" else None
    fit_on = (val or material.content) if options.calibrate else None
    examined = []
    for candidate in candidates:
        progress(f"{candidate.name}: {len(material.content)} recordings")
        examined.append(examine_sequence(candidate, material.content, fit_on, options.slices))
    unit = "recording" if len(material.content) >= FEWEST_RECORDINGS else "stretch"
    return _Answers(tuple(examined), material, unit, val is None)


def _result(examined: Examined, draws: Draws, options: Options, *, same_part: bool) -> ModelResult:
    scores, candidate = examined.scores, examined.candidate
    figures = estimates_of(scores.figures(np.ones(len(scores.units))), draws)
    figures |= {name: Estimate(value) for name, value in examined.extra.items()}
    calibration = None
    if isinstance(scores, ClassScores):
        calibration = calibrate(scores, examined.fit_on, same_part=same_part)
        if calibration is not None:
            figures["ece"] = Estimate(calibration.ece)
    return ModelResult(
        name=candidate.name,
        path=str(candidate.path),
        sha256=candidate.sha256,
        task=candidate.spec.task,
        main=examined.main,
        figures=figures,
        classes=examined.classes,
        confusion=examined.confusion,
        calibration=calibration,
        thresholds=_points(examined),
        slices=_sliced(examined, options),
        events=examined.events,
        warnings=examined.warnings,
    )


def _points(examined: Examined) -> tuple[OperatingPoint, ...]:
    if isinstance(examined.scores, DetectionScores):
        return detector_points(examined.scores)
    if isinstance(examined.scores, AnomalyScores):
        return anomaly_points(examined.scores)
    return ()


def _sliced(examined: Examined, options: Options) -> tuple[Slice, ...]:
    slices = []
    for part in examined.slices:
        scores = part.scores or examined.scores
        units = len(np.unique(scores.units[part.mask]))
        # Of a single unit, such as a trip, nothing can be drawn: no interval.
        resamples = min(options.resamples, _SLICE_RESAMPLES) if units > 1 else 0
        mask = None if part.mask.all() else part.mask
        figure = estimate(scores, resamples, options.seed, mask)[examined.main]
        # A trip is one unit by nature.
        few = units < _THIN_UNITS and part.kind != "recording"
        thin = few or part.samples < _THIN_SAMPLES
        slices.append(Slice(part.kind, part.name, part.samples, figure, thin))
    return tuple(slices)


def _leaks(answers: _Answers) -> list[str]:
    """Return a warning for each run that learnt from what it is measured on."""
    warnings = []
    for one in answers.examined:
        path = one.candidate.path
        if not is_run(path):
            continue
        try:
            names = sorted(set(one.names))
            seen = learnt_from(path, names, answers.material.content)
        except DatasetError:
            continue  # it does not say what it learnt from
        if seen:
            warnings.append(
                f"{one.candidate.name} learnt from {seen} of these {len(names)} "
                "pictures or recordings: its figures are too good"
            )
    return warnings


def _few_units(units: NDArray[np.int64], unit: str) -> list[str]:
    count = len(np.unique(units))
    if count >= _THIN_UNITS:
        return []
    if count < 2:  # noqa: PLR2004 - nothing to draw from
        return [f"there is one {unit} only, so no interval can be given"]
    return [f"{count} {plural(unit)} are few: the intervals are narrower than the truth"]
