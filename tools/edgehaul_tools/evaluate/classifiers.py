"""Classifiers of whole pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.decode import classify
from edgehaul.vision.preprocess import Preprocessor
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.classification import NO_ANSWER, ClassScores, class_figures
from edgehaul_tools.evaluate.crops import enlarged
from edgehaul_tools.evaluate.examined import Examined, Exhibit, defined
from edgehaul_tools.evaluate.picture_slices import read_picture, slice_pictures, units_of
from edgehaul_tools.evaluate.ranking import curve_of
from edgehaul_tools.evaluate.result import ClassRow, Confusion

MAIN = "accuracy"
_NONE = "(no answer)"
_WRONG = "Wrong, the surest first"


def known_pictures(
    dataset: DetectionDataset, candidates: Sequence[Candidate]
) -> tuple[DetectionDataset, tuple[str, ...]]:
    """Return the pictures whose class every model knows, and what was left out.

    Raises:
        DatasetError: The pictures have no class as a whole.
        SpecMismatchError: No class is known to all models.
    """
    if dataset.task != "classify":
        raise DatasetError(
            "these pictures do not each have a class: some hold marked objects, or none",
            where=dataset.root,
            remedy="give one folder for each class, or a detector",
        )
    known = [set(c.spec.output.labels) for c in candidates]
    unknown = {label for label in dataset.labels if not all(label in k for k in known)}
    kept = [s for s in dataset.samples if dataset.labels[_class(s)] not in unknown]
    if not kept:
        raise SpecMismatchError(
            f"the models know none of the classes of this dataset: {', '.join(dataset.labels[:8])}",
            where=dataset.root,
            remedy=f"the first model knows {', '.join(candidates[0].spec.output.labels[:8])}: "
            "name them alike",
        )
    left = len(dataset) - len(kept)
    note = f"not every model knows {', '.join(sorted(unknown))}: {left} pictures are left out"
    return dataset.subset(kept), (note,) if left else ()


def examine_classifier(
    candidate: Candidate,
    dataset: DetectionDataset,
    val: DetectionDataset | None,
    kinds: Collection[str],
) -> Examined:
    """Run a classifier on pictures and measure it.

    Args:
        candidate: The model.
        dataset: The pictures, with classes that it knows; see :func:`known_pictures`.
        val: Pictures to fit a temperature on, where that is asked for.
        kinds: Slices that are asked for.

    Raises:
        DataError: A picture cannot be decoded.
        ModelError: The model cannot be run.
    """
    labels = candidate.spec.output.labels
    units, _ = units_of(dataset.samples)
    scores = ClassScores(
        units, true_classes(dataset, labels), _probabilities(candidate, dataset.samples)
    )
    fit_on = None
    if val is not None:
        fit_on = (_probabilities(candidate, val.samples), true_classes(val, labels))
    return Examined(
        candidate=candidate,
        labels=labels,
        scores=scores,
        main=MAIN,
        names=tuple(str(sample.path) for sample in dataset.samples),
        slices=slice_pictures(dataset.samples, kinds),
        classes=class_rows(scores, labels),
        confusion=class_confusion(scores, labels),
        fit_on=fit_on,
        exhibits=partial(_exhibits, scores, labels, dataset.samples),
        warnings=no_answers(scores),
    )


def class_rows(scores: ClassScores, labels: Sequence[str]) -> tuple[ClassRow, ...]:
    """Return the figures of each class that occurs or was answered."""
    each = class_figures(scores.matrix())
    rows = []
    for number, label in enumerate(labels):
        if np.isnan(each.f1[number]):
            continue
        curve = curve_of(
            np.nan_to_num(scores.probabilities[:, number], nan=-1.0), scores.true == number
        )
        figures = {
            "precision": each.precision[number],
            "recall": each.recall[number],
            "f1": each.f1[number],
            "auroc": curve.auroc,
            "average_precision": curve.average_precision,
        }
        named = {name: defined(value) for name, value in figures.items()}
        rows.append(ClassRow(label, int(each.support[number]), named))
    return tuple(rows)


def class_confusion(scores: ClassScores, labels: Sequence[str]) -> Confusion:
    """Return the confusion matrix, with a column for no answer where there are such."""
    matrix = scores.matrix().astype(np.int64)
    columns = tuple(labels)
    if matrix[:, -1].any():
        columns = (*columns, _NONE)
    counts = tuple(tuple(int(v) for v in row[: len(columns)]) for row in matrix)
    return Confusion(tuple(labels), columns, counts)


def no_answers(scores: ClassScores) -> tuple[str, ...]:
    """Return a warning where answers are no numbers."""
    lost = int((scores.answered == NO_ANSWER).sum())
    return (f"{lost} answers are no numbers and count as wrong",) if lost else ()


def probabilities_of(
    outputs: Sequence[NDArray[np.float32]], candidate: Candidate
) -> NDArray[np.float64]:
    """Return the probability of each label (C,), as the box would report it."""
    by_label = dict(classify(outputs, candidate.spec))
    labels = candidate.spec.output.labels
    if len(by_label) != len(labels):
        raise SpecMismatchError(
            f"the model answers with {len(by_label)} classes, and its spec names {len(labels)}",
            where=candidate.path,
            remedy="correct the labels of its spec",
        )
    return np.array([by_label[label] for label in labels])


def _class(sample: Sample) -> int:
    assert sample.class_id is not None  # noqa: S101 - the dataset's task is 'classify'
    return sample.class_id


def true_classes(dataset: DetectionDataset, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the class (n,) of each picture by the model's numbers."""
    ids = [labels.index(dataset.labels[_class(sample)]) for sample in dataset.samples]
    return np.array(ids, dtype=np.int64)


def _probabilities(candidate: Candidate, samples: Sequence[Sample]) -> NDArray[np.float64]:
    canvas = candidate.spec.input
    if not isinstance(canvas, ImageInput):
        raise SpecMismatchError("this model takes no pictures", where=candidate.path)
    preprocess = Preprocessor(canvas)
    rows = [
        probabilities_of(candidate.run(preprocess(read_picture(sample))[0]), candidate)
        for sample in samples
    ]
    return np.array(rows).reshape(len(samples), len(candidate.spec.output.labels))


def _exhibits(
    scores: ClassScores, labels: Sequence[str], samples: Sequence[Sample], limit: int
) -> list[Exhibit]:
    wrong = np.flatnonzero(~scores.correct)
    shown = []
    for index in wrong[np.argsort(-scores.confidence[wrong], kind="stable")][: 2 * limit].tolist():
        sample, answer = samples[index], int(scores.answered[index])
        said = labels[answer] if answer != NO_ANSWER else "nothing"
        is_ = labels[int(scores.true[index])]
        caption = f"{said} {scores.confidence[index]:.2f}, but it is {is_}: {sample.path.name}"
        shown.append(Exhibit(_WRONG, caption, enlarged(read_picture(sample))))
    return shown
