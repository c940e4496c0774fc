"""Detectors on labelled pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.decode import Detections
from edgehaul_tools.dataset.samples import DetectionDataset, TrueBox
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.crops import close_up
from edgehaul_tools.evaluate.detection import DetectionScores
from edgehaul_tools.evaluate.examined import Examined, Exhibit, SliceOf, defined
from edgehaul_tools.evaluate.labelled import detect_in
from edgehaul_tools.evaluate.matching import SIZES, match_classes
from edgehaul_tools.evaluate.mistakes import SAME_OBJECT_IOU, Mistake, judge, worst
from edgehaul_tools.evaluate.picture_slices import read_picture, slice_pictures, units_of
from edgehaul_tools.evaluate.ranking import Curve, OperatingPoint, choices
from edgehaul_tools.evaluate.result import ClassRow

MAIN = "map50"
_KINDS = {
    "false": "False detections, the surest first",
    "confused": "Taken for another class, the surest first",
    "missed": "Missed, the largest first",
}
_TARGET = 0.95
_NEAR_IOU = 0.1


def shared_classes(
    dataset: DetectionDataset, candidates: Sequence[Candidate]
) -> tuple[DetectionDataset, tuple[str, ...]]:
    """Return the dataset with those classes alone that every model knows, and what was left out.

    Objects of other classes become ignored regions: to find or to miss them is no fault.

    Raises:
        SpecMismatchError: No class of the dataset is known to all models.
    """
    known = [set(c.spec.output.labels) for c in candidates]
    labels = tuple(label for label in dataset.labels if all(label in k for k in known))
    if not labels:
        raise SpecMismatchError(
            "the models and the dataset have no class in common: the dataset's are "
            f"{', '.join(dataset.labels[:8])}",
            where=dataset.root,
            remedy=f"the first model's are {', '.join(candidates[0].spec.output.labels[:8])}: "
            "name them alike",
        )
    new_id = {dataset.labels.index(label): number for number, label in enumerate(labels)}
    samples, left = [], 0
    for sample in dataset.samples:
        boxes = tuple(
            TrueBox(m.box, new_id[m.class_id]) for m in sample.boxes if m.class_id in new_id
        )
        others = tuple(m.box for m in sample.boxes if m.class_id not in new_id)
        left += len(others)
        samples.append(replace(sample, boxes=boxes, ignored=(*sample.ignored, *others)))
    notes = []
    missing = [label for label in dataset.labels if label not in labels]
    if missing:
        notes.append(
            f"not every model knows {', '.join(missing)}: their {left} objects are left out"
        )
    narrowed = replace(dataset, labels=labels, samples=tuple(samples))
    if not any(sample.boxes for sample in narrowed.samples):
        raise DatasetError(
            "no object is marked in these pictures, so accuracy cannot be measured",
            where=dataset.root,
            remedy="give labelled pictures",
        )
    return narrowed, tuple(notes)


def examine_detector(
    candidate: Candidate, dataset: DetectionDataset, kinds: Collection[str]
) -> Examined:
    """Run a detector on pictures and measure it.

    Args:
        candidate: The model.
        dataset: The pictures, with classes that it knows; see :func:`shared_classes`.
        kinds: Slices that are asked for.

    Raises:
        DataError: A picture cannot be decoded.
        ModelError: The model cannot be run.
    """
    raw = detect_in(candidate.run, candidate.spec, dataset)
    found = [usable(one) for one in raw]
    lost = sum(map(len, raw)) - sum(map(len, found))
    threshold = candidate.spec.output.score_threshold
    units, _ = units_of(dataset.samples)
    matches = match_classes(found, dataset.samples, len(dataset.labels))
    scores = DetectionScores(units, dataset.labels, matches, threshold)
    reported = [one.above(threshold) for one in found]
    confusion, mistakes = judge(reported, dataset.samples, dataset.labels)
    return Examined(
        candidate=candidate,
        labels=dataset.labels,
        scores=scores,
        main=MAIN,
        names=tuple(str(sample.path) for sample in dataset.samples),
        slices=slice_pictures(dataset.samples, kinds) + _sizes(scores, found, dataset, kinds),
        classes=_classes(scores),
        confusion=confusion,
        exhibits=partial(_exhibits, mistakes, reported, dataset),
        warnings=(f"{lost} detections with a score that is no number were dropped",)
        if lost
        else (),
    )


def detector_points(scores: DetectionScores) -> tuple[OperatingPoint, ...]:
    """Return what the model's threshold and others do, at IoU 0.5 over all classes."""
    curve = pooled_curve(scores)
    chosen = choices(curve, false_alarms=-1.0, target=_TARGET)
    return (curve.point("model", scores.threshold), *chosen)


def pooled_curve(scores: DetectionScores) -> Curve:
    """Return the counts over all classes; its "others" are the pictures."""
    parts = [(m.scores[m.counted[0]], m.hit[0][m.counted[0]]) for m in scores.matches]
    score = np.concatenate([part[0] for part in parts])
    hit = np.concatenate([part[1] for part in parts])
    order = np.argsort(-score, kind="stable")
    score, hit = score[order], hit[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], [True] * min(1, len(score))))
    objects = float(sum(m.objects.sum() for m in scores.matches))
    return Curve(
        score[last],
        np.cumsum(hit)[last].astype(np.float64),
        np.cumsum(~hit)[last].astype(np.float64),
        objects,
        float(len(scores.units)),
    )


def usable(found: Detections) -> Detections:
    """Return those detections whose score is a number."""
    chosen = np.isfinite(found.scores)
    return Detections(found.boxes[chosen], found.scores[chosen], found.class_ids[chosen])


def _sizes(
    scores: DetectionScores,
    found: Sequence[Detections],
    dataset: DetectionDataset,
    kinds: Collection[str],
) -> tuple[SliceOf, ...]:
    if "size" not in kinds:
        return ()
    every = np.ones(len(dataset), dtype=np.bool_)
    slices = []
    for name, size in SIZES.items():
        matches = match_classes(found, dataset.samples, len(dataset.labels), size)
        objects = int(sum(match.objects.sum() for match in matches))
        if objects:
            of_size = DetectionScores(scores.units, scores.labels, matches, scores.threshold)
            slices.append(SliceOf("size", name, every, objects, of_size))
    return tuple(slices)


def _classes(scores: DetectionScores) -> tuple[ClassRow, ...]:
    figures = scores.figures(np.ones(len(scores.units)))
    rows = []
    for class_id, label in enumerate(scores.labels):
        precision, recall, f1 = scores.operating(class_id)
        named = {"ap50": figures[f"ap50:{label}"], "precision": precision, "recall": recall}
        samples = int(scores.matches[class_id].objects.sum())
        named["f1"] = f1 if samples else math.nan
        rows.append(ClassRow(label, samples, {n: defined(v) for n, v in named.items()}))
    return tuple(rows)


def _exhibits(
    mistakes: Sequence[Mistake],
    reported: Sequence[Detections],
    dataset: DetectionDataset,
    limit: int,
) -> list[Exhibit]:
    shown = []
    for kind, heading in _KINDS.items():
        for mistake in worst(mistakes, kind, limit):
            sample = dataset.samples[mistake.picture]
            found = reported[mistake.picture].to_values(dataset.labels)
            truth = [mark.box for mark in sample.boxes]
            image = close_up(read_picture(sample), mistake.box, found, truth)
            shown.append(Exhibit(heading, _caption(mistake, dataset), image))
    return shown


def _caption(mistake: Mistake, dataset: DetectionDataset) -> str:
    name = dataset.samples[mistake.picture].path.name
    if mistake.kind == "missed":
        return f"{dataset.labels[mistake.true]} missed in {name}"
    found = f"{dataset.labels[mistake.found]} {mistake.score:.2f}"
    if mistake.kind == "false":
        return f"{found}, {_reason(mistake)}, in {name}"
    return f"{found}, but it is {dataset.labels[mistake.true]}, in {name}"


def _reason(mistake: Mistake) -> str:
    if mistake.overlap >= SAME_OBJECT_IOU:
        return "but this object was found already"
    if mistake.overlap >= _NEAR_IOU:
        return f"but badly placed (IoU {mistake.overlap:.2f})"
    return "but nothing is there"
