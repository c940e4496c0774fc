"""Models that find unusual pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput
from edgehaul.errors import DatasetError, SpecMismatchError
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.verdicts import NORMAL_LABEL, anomaly_score
from edgehaul_tools.dataset.samples import DetectionDataset, Sample
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.crops import enlarged, heat
from edgehaul_tools.evaluate.examined import Examined, Exhibit
from edgehaul_tools.evaluate.picture_slices import read_picture, slice_pictures, units_of
from edgehaul_tools.evaluate.ranking import AnomalyScores, OperatingPoint, choices
from edgehaul_tools.evaluate.result import Confusion

MAIN = "auroc"
_NORMAL_NAMES = (NORMAL_LABEL, "good", "ok")
_TARGET = 0.95
_FALSE_ALARMS = 0.01
_MAP_OUTPUT = 1
_MAP_AXES = 2


def examine_anomalies(
    candidate: Candidate, dataset: DetectionDataset, normal: str, kinds: Collection[str]
) -> Examined:
    """Run an anomaly model on pictures and measure it.

    Args:
        candidate: The model.
        dataset: The pictures; each has a class.
        normal: Class of the normal ones; empty: what its recipe or spec says, or a class
            called normal, good or ok.
        kinds: Slices that are asked for.

    Raises:
        DatasetError: Nothing says which pictures are normal.
        DataError: A picture cannot be decoded.
        ModelError: The model cannot be run.
    """
    truth = are_anomalies(candidate, dataset, normal)
    units, _ = units_of(dataset.samples)
    raw = np.array([_score(candidate, sample)[0] for sample in dataset.samples])
    scores = AnomalyScores(units, truth, raw, candidate.spec.output.score_threshold)
    return Examined(
        candidate=candidate,
        labels=("normal", "anomaly"),
        scores=scores,
        main=MAIN,
        names=tuple(str(sample.path) for sample in dataset.samples),
        slices=slice_pictures(dataset.samples, kinds),
        confusion=reported_confusion(scores),
        exhibits=partial(_exhibits, candidate, scores, dataset.samples),
        warnings=anomaly_warnings(scores),
    )


def anomaly_points(scores: AnomalyScores) -> tuple[OperatingPoint, ...]:
    """Return what the model's threshold and others do."""
    curve = scores.curve()
    chosen = choices(curve, false_alarms=_FALSE_ALARMS, target=_TARGET)
    return (curve.point("model", scores.threshold), *chosen)


def anomaly_warnings(scores: AnomalyScores) -> tuple[str, ...]:
    """Return what is to be said of the samples: of one kind alone, or answers without number."""
    warnings = []
    if scores.truth.all() or not scores.truth.any():
        kind = "an anomaly" if scores.truth.all() else "normal"
        warnings.append(f"every sample is {kind}: AUROC and what needs both kinds is undefined")
    lost = int(np.isnan(scores.raw).sum())
    if lost:
        warnings.append(f"{lost} scores are no numbers and count as mistakes")
    return tuple(warnings)


def reported_confusion(scores: AnomalyScores) -> Confusion:
    """Return what is reported at the model's threshold."""
    reported = scores.scores >= scores.threshold
    counts = tuple(
        tuple(int((reported[scores.truth == kind] == said).sum()) for said in (False, True))
        for kind in (False, True)
    )
    return Confusion(("normal", "anomaly"), ("not reported", "reported"), counts)


def are_anomalies(
    candidate: Candidate, dataset: DetectionDataset, normal: str
) -> NDArray[np.bool_]:
    """Return (n,) which pictures are not of the normal class; see :func:`examine_anomalies`.

    Raises:
        DatasetError: Nothing says which pictures are normal.
    """
    if dataset.task != "classify":
        raise DatasetError(
            "these pictures do not each have a class, so nothing says which are normal",
            where=dataset.root,
            remedy="give one folder of normal pictures, and others for the rest",
        )
    recipe = candidate.recipe.anomaly if candidate.recipe else None
    named = (normal, recipe.normal_label if recipe else "", candidate.spec.output.normal_label)
    wanted = [name for name in named if name]
    found = [name for name in wanted[:1] or _NORMAL_NAMES if name in dataset.labels]
    if not found:
        raise DatasetError(
            f"nothing says which of {', '.join(dataset.labels)} is normal",
            where=dataset.root,
            remedy="name the class with --normal",
        )
    number = dataset.labels.index(found[0])
    return np.array([sample.class_id != number for sample in dataset.samples])


def _score(candidate: Candidate, sample: Sample) -> tuple[float, NDArray[np.float32] | None]:
    """Return the score of a picture, and where it is from: (h, w), where the model says so."""
    canvas = candidate.spec.input
    if not isinstance(canvas, ImageInput):
        raise SpecMismatchError("this model takes no pictures", where=candidate.path)
    tensor, _ = Preprocessor(canvas)(read_picture(sample))
    outputs = candidate.run(tensor)
    score = anomaly_score(outputs, tensor, candidate.spec)
    if candidate.spec.output.head == "autoencoder":
        difference = (np.asarray(outputs[0], np.float32) - tensor.astype(np.float32)) ** 2
        channel = 3 if canvas.layout == "nhwc" else 1
        return score, difference.mean(axis=channel)[0]
    if len(outputs) > _MAP_OUTPUT:
        error = np.asarray(outputs[_MAP_OUTPUT], np.float32).squeeze()
        return score, error if error.ndim == _MAP_AXES else None
    return score, None


def _exhibits(
    candidate: Candidate, scores: AnomalyScores, samples: Sequence[Sample], limit: int
) -> list[Exhibit]:
    order = np.argsort(-scores.scores, kind="stable")
    reported = scores.scores >= scores.threshold
    parts = {
        "False alarms, the highest scores first": order[(reported & ~scores.truth)[order]],
        "Anomalies missed, the lowest scores first": order[(~reported & scores.truth)[order]][::-1],
        "Anomalies found, the highest scores first": order[(reported & scores.truth)[order]],
        "Normal, the lowest scores first": order[(~reported & ~scores.truth)[order]][::-1],
    }
    return [
        _exhibit(heading, candidate, samples[index])
        for heading, chosen in parts.items()
        for index in chosen[:limit].tolist()
    ]


def _exhibit(heading: str, candidate: Candidate, sample: Sample) -> Exhibit:
    score, error = _score(candidate, sample)
    picture = enlarged(read_picture(sample))
    image = picture if error is None else np.hstack([picture, heat(picture, error)])
    return Exhibit(heading, f"score {score:.4g}: {sample.path.name}", np.asarray(image))
