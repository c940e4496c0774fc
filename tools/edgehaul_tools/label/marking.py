"""Mark pictures with a model, and say how unsure it is of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import SpecMismatchError
from edgehaul.geometry import Box
from edgehaul.vision.decode import classify, decoder_for
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.reading import require_picture
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.samples import Sample, TrueBox, whole_picture
from edgehaul_tools.export.runtime import Run

_UNSURE_SHARE = 0.3
"""Detections down to this share of the threshold are not marked, but make a picture unsure."""


@dataclass(frozen=True)
class Marked:
    """A picture with what a model says of it.

    Attributes:
        sample: The picture; its boxes are the model's.
        scores: Score of each box.
        uncertainty: 0 where the model is sure, 1 where it might as well say otherwise.
    """

    sample: Sample
    scores: tuple[float, ...]
    uncertainty: float


def mark_pictures(
    run: Run,
    spec: ModelSpec,
    samples: Sequence[Sample],
    threshold: float | None = None,
    progress: Progress | None = None,
) -> list[Marked]:
    """Return each picture with the model's marks, boxes in pixels of the original picture.

    A detector is the less sure, the nearer its least sure detection is to the threshold. A
    classifier gives each picture its likeliest class, and is the less sure, the smaller its
    lead over the second one is (Scheffer et al. 2001).

    Args:
        run: The model.
        spec: Its spec.
        samples: The pictures.
        threshold: Score from which a detection is a mark; else the spec's.
        progress: Told of each picture.

    Raises:
        DataError: A picture cannot be decoded.
        SpecMismatchError: The model takes no pictures.
    """
    if not isinstance(spec.input, ImageInput):
        raise SpecMismatchError("this model takes no pictures", remedy="give another model")
    preprocess = Preprocessor(spec.input)
    limit = spec.output.score_threshold if threshold is None else threshold
    mark = _classified(run, spec) if spec.task == "classify" else _detected(run, spec, limit)
    marked = []
    for number, sample in enumerate(samples, start=1):
        marked.append(mark(sample, preprocess))
        if progress:
            progress(number, len(samples))
    return marked


def unsure(score: float, threshold: float) -> float:
    """Return 1 at the threshold, and 0 for scores of 0 and 1."""
    if score >= threshold:
        return (1 - score) / (1 - threshold) if threshold < 1 else 1.0
    return score / threshold


_Mark = Callable[[Sample, Preprocessor], Marked]


def _detected(run: Run, spec: ModelSpec, threshold: float) -> _Mark:
    low = msgspec.structs.replace(spec.output, score_threshold=threshold * _UNSURE_SHARE)
    decode = decoder_for(msgspec.structs.replace(spec, output=low))

    def mark(sample: Sample, preprocess: Preprocessor) -> Marked:
        tensor, placement = preprocess(_picture(sample))
        found = decode(run(tensor), placement)
        kept = found.above(threshold)
        rows = zip(kept.boxes.tolist(), kept.class_ids.tolist(), strict=True)
        boxes = tuple(TrueBox(Box(*box), class_id) for box, class_id in rows)
        doubts = [unsure(score, threshold) for score in found.scores.tolist()]
        return Marked(
            _marked_anew(sample, boxes),
            tuple(kept.scores.tolist()),
            max(doubts, default=0.0),
        )

    return mark


def _classified(run: Run, spec: ModelSpec) -> _Mark:
    labels = spec.output.labels

    def mark(sample: Sample, preprocess: Preprocessor) -> Marked:
        tensor, _ = preprocess(_picture(sample))
        ranked = classify(run(tensor), spec)
        label, score = ranked[0]
        second = ranked[1][1] if len(ranked) > 1 else 0.0
        whole = whole_picture(sample.width, sample.height, labels.index(label))
        return Marked(_marked_anew(sample, (whole,)), (score,), 1 - (score - second))

    return mark


def _marked_anew(sample: Sample, boxes: tuple[TrueBox, ...]) -> Sample:
    """Return a picture with these marks alone, for which nobody has chosen a part yet."""
    return dataclasses.replace(sample, boxes=boxes, ignored=(), part="")


def _picture(sample: Sample) -> NDArray[np.uint8]:
    return require_picture(sample.path)
