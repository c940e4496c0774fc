"""What is true of labelled pictures, for detectors, classifiers and anomaly models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.decode import Detections
from edgehaul.vision.verdicts import anomaly_score
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate import anomalies, classifiers, detectors
from edgehaul_tools.evaluate.bootstrap import Scores
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.canvases import Canvases, Picture
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.detection import Ap50Scores, DetectionScores
from edgehaul_tools.evaluate.ground_truth import (
    Answer,
    ByClass,
    ByKind,
    GroundTruth,
    RecallScores,
    counted,
    rows_of,
)
from edgehaul_tools.evaluate.labelled import dataset_decoder
from edgehaul_tools.evaluate.matching import match_classes
from edgehaul_tools.evaluate.picture_slices import read_picture, units_of
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.quantize.answers import Outputs, Prepared


def picture_truth(candidate: Candidate, dataset: DetectionDataset, normal: str = "") -> GroundTruth:
    """Return what is true of pictures, for models that answer as this one does.

    Args:
        candidate: One of them; its spec says what is asked.
        dataset: The pictures.
        normal: Class of normal pictures, for anomaly models; see ``examine_anomalies``.

    Raises:
        DatasetError: The pictures are not labelled for the task.
        SpecMismatchError: The model takes no pictures, or knows none of the classes.
    """
    if not isinstance(candidate.spec.input, ImageInput):
        raise SpecMismatchError(
            "this model takes recordings, and these are pictures", where=candidate.path
        )
    if candidate.spec.task == "detect":
        return _detection_truth(candidate, dataset)
    if candidate.spec.task == "classify":
        return _class_truth(candidate, dataset)
    return _anomaly_truth(candidate, dataset, normal)


def _detection_truth(candidate: Candidate, dataset: DetectionDataset) -> GroundTruth:
    decode = dataset_decoder(candidate.spec, dataset)
    marks = [mark.class_id for sample in dataset.samples for mark in sample.boxes]
    if not marks:
        raise DatasetError(
            "no object is marked in these pictures, so accuracy cannot be measured",
            where=dataset.root,
            remedy="give labelled pictures",
        )
    units, unit = units_of(dataset.samples)
    threshold = candidate.spec.output.score_threshold

    def answer(outputs: Outputs, item: Prepared) -> Detections:
        assert item.placement is not None  # noqa: S101 - it was made of a picture
        return decode(outputs, item.placement)

    def score(answers: Sequence[Answer]) -> DetectionScores:
        found = [detectors.usable(a) for a in answers if isinstance(a, Detections)]
        matches = match_classes(found, dataset.samples, len(dataset.labels))
        return DetectionScores(units, dataset.labels, matches, threshold)

    return GroundTruth(
        main=detectors.MAIN,
        class_figure="ap50",
        unit=unit,
        samples_of=counted(np.array(marks, np.int64), dataset.labels),
        inputs=_inputs(candidate, dataset),
        answer=answer,
        score=score,
        to_resample=_at_iou_50,
    )


def _at_iou_50(scores: Scores) -> Scores:
    assert isinstance(scores, DetectionScores)  # noqa: S101 - of a detector they are
    return Ap50Scores(scores)


def _class_truth(candidate: Candidate, dataset: DetectionDataset) -> GroundTruth:
    known, notes = classifiers.known_pictures(dataset, [candidate])
    labels = candidate.spec.output.labels
    units, unit = units_of(known.samples)
    true = classifiers.true_classes(known, labels)

    def score(answers: Sequence[Answer]) -> ByClass:
        return ByClass(ClassScores(units, true, rows_of(answers)), labels, "recall")

    return GroundTruth(
        main=classifiers.MAIN,
        class_figure="recall",
        unit=unit,
        samples_of=counted(true, labels),
        inputs=_inputs(candidate, known),
        answer=lambda outputs, _item: classifiers.probabilities_of(outputs, candidate),
        score=score,
        to_resample=_without_matrix,
        notes=notes,
    )


def _without_matrix(scores: Scores) -> Scores:
    assert isinstance(scores, ByClass)  # noqa: S101 - of a classifier they are
    return RecallScores(scores.scores, scores.labels)


def _anomaly_truth(candidate: Candidate, dataset: DetectionDataset, normal: str) -> GroundTruth:
    truth = anomalies.are_anomalies(candidate, dataset, normal)
    units, unit = units_of(dataset.samples)
    spec = candidate.spec

    def score(answers: Sequence[Answer]) -> ByKind:
        raw = rows_of(answers)[:, 0]
        return ByKind(AnomalyScores(units, truth, raw, spec.output.score_threshold))

    return GroundTruth(
        main=anomalies.MAIN,
        class_figure="recall",
        unit=unit,
        samples_of=counted(truth.astype(np.int64), ("normal", "anomaly")),
        inputs=_inputs(candidate, dataset),
        answer=lambda outputs, item: np.array([anomaly_score(outputs, item.tensor, spec)]),
        score=score,
    )


def _inputs(candidate: Candidate, dataset: DetectionDataset) -> Canvases:
    canvas = candidate.spec.input
    assert isinstance(canvas, ImageInput)  # noqa: S101 - asked before

    def pictures() -> Iterator[Picture]:
        return (read_picture(sample) for sample in dataset.samples)

    return Canvases(pictures, len(dataset), canvas)
