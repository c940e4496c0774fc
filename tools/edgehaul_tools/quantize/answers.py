"""What two models answer on the same pictures, and how far the answers agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.errors import ModelError
from edgehaul.vision.decode import Detections, classify, decoder_for
from edgehaul.vision.match import f1, match_detections
from edgehaul.vision.nms import iou_matrix
from edgehaul.vision.placement import Placement
from edgehaul.vision.preprocess import Preprocessor
from edgehaul.vision.verdicts import ANOMALY_HEADS, anomaly_score
from edgehaul_tools.export.runtime import Run

Array = NDArray[Any]
Outputs = Sequence[Array]

AGREEMENT_IOU = 0.5
_MOVE = 0.1
"""A number agrees while it moves by no more than this part of its spread or threshold."""
_CANDIDATE_SHARE = 0.5
"""Scores down to this part of the threshold count in ``detection_distance``."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model's input tensor for one picture or window, and where the picture lies on it."""

    tensor: Array
    placement: Placement | None = None


class Agreement(msgspec.Struct, frozen=True):
    """How far a variant's answers agree with those of fp32.

    Attributes:
        f1: Detectors: F1 of the matched detections (IoU 0.5, same class). Classifiers: share of
            inputs with the same best class. Others: share of inputs whose numbers moved little.
        matched: Detections (or inputs) that agree.
        only_fp32: Detections of fp32 alone.
        only_variant: Detections of the variant alone.
        inputs: Number of pictures or windows.
    """

    f1: float
    matched: int
    only_fp32: int
    only_variant: int
    inputs: int


def prepare(pictures: Iterable[NDArray[np.uint8]], spec: ModelSpec) -> Iterable[Prepared]:
    """Yield the input of each picture as the box will make it, one after the other."""
    if not isinstance(spec.input, ImageInput):
        raise ModelError("a sequence model takes no pictures", remedy="give GPS traces")
    preprocess = Preprocessor(spec.input)
    for picture in pictures:
        tensor, placement = preprocess(picture)
        yield Prepared(tensor.copy(), placement)


def detections_of(run: Run, inputs: Iterable[Prepared], spec: ModelSpec) -> list[Detections]:
    """Return what a detector finds in each input."""
    decode = decoder_for(spec)
    found = []
    for item in inputs:
        if item.placement is None:
            raise ModelError("a detector needs pictures", remedy="give --frames")
        found.append(decode(run(item.tensor), item.placement))
    return found


class Answers:
    """What a model answers on the inputs, small enough to keep.

    Detections of a detector, best classes of a classifier, numbers of the others.

    Args:
        run: The model.
        inputs: The inputs, streamed.
        spec: The model's spec.
    """

    def __init__(self, run: Run, inputs: Iterable[Prepared], spec: ModelSpec) -> None:
        self.detections: list[Detections] = []
        self.classes: list[str] = []
        self.numbers: list[NDArray[np.float64]] = []
        self._spec = spec
        if spec.task == "detect":
            self.detections = detections_of(run, inputs, spec)
        elif spec.output.head in {"regress", *ANOMALY_HEADS}:
            self.numbers = [_numbers(run(item.tensor), item, spec) for item in inputs]
        else:
            self.classes = [_best_class(run(item.tensor), spec) for item in inputs]

    @property
    def count(self) -> int:
        """Number of inputs."""
        return len(self.detections) + len(self.classes) + len(self.numbers)

    def agreement_of(self, other: Answers) -> Agreement:
        """Return how far a variant's answers on the same inputs agree with these."""
        return agreement_of_counts(self.counts_with(other))

    def counts_with(self, other: Answers) -> NDArray[np.int64]:
        """Return what agrees, input by input: (n, 3) counts.

        They are of detections (or of the input itself, where it has one answer) that agree, that
        these answers have alone, and that the others have alone.
        """
        if self.detections or other.detections:
            pairs = zip(self.detections, other.detections, strict=True)
            rows = [match_detections(a, b, AGREEMENT_IOU) for a, b in pairs]
            return np.array(rows, np.int64).reshape(-1, 3)
        same = self._same_answers(other)
        return np.stack([same, ~same, ~same], axis=1).astype(np.int64)

    def _same_answers(self, other: Answers) -> NDArray[np.bool_]:
        """Return (n,) for which inputs the class is the same, or all numbers moved little."""
        if not self.numbers:
            pairs = zip(self.classes, other.classes, strict=True)
            return np.array([a == b for a, b in pairs], dtype=bool)
        expected, got = np.stack(self.numbers), np.stack(other.numbers)
        if self._spec.output.head == "regress":
            allowed = _MOVE * expected.std(axis=0)
            close = np.abs(got - expected) <= np.maximum(allowed, 1e-9)
            return np.asarray(close.all(axis=1))
        threshold = self._spec.output.score_threshold
        close = np.abs(got - expected) <= _MOVE * np.maximum(expected, threshold)
        same_verdict = (got >= threshold) == (expected >= threshold)
        return np.asarray((close & same_verdict).all(axis=1))


def agreement_of_counts(counts: NDArray[np.int64]) -> Agreement:
    """Return the agreement on all inputs, of (n, 3) counts."""
    matched, only_fp32, only_variant = (int(v) for v in counts.sum(axis=0))
    share = f1(matched, only_fp32, only_variant)
    return Agreement(share, matched, only_fp32, only_variant, len(counts))


class Distance:
    """How far answers moved from the reference's: 0 is equal, about 1 is nothing in common.

    Of a detector only what it finds counts (down to half its score threshold): by how much
    scores and boxes moved. Background, which is most of a picture, would hide that. Of other
    models it is the squared error as a part of the reference's variance.

    Args:
        spec: The model's spec.
        inputs: A few inputs, with objects in them.
        reference: The float model's outputs for each input.
    """

    def __init__(
        self, spec: ModelSpec, inputs: Sequence[Prepared], reference: Sequence[Outputs]
    ) -> None:
        self._inputs, self._reference = inputs, reference
        self._decode = None
        if spec.task == "detect":
            low = msgspec.structs.replace(
                spec.output, score_threshold=spec.output.score_threshold * _CANDIDATE_SHARE
            )
            self._decode = decoder_for(msgspec.structs.replace(spec, output=low))
        self._found = [self._detect(o, i) for o, i in zip(reference, inputs, strict=True)]

    def __call__(self, answers: Sequence[Outputs]) -> float:
        """Return the distance of ``answers``, one for each input, from the reference."""
        if self._decode is None or not any(len(found) for found in self._found if found):
            return relative_error(self._reference, answers)
        moved: list[float] = []
        for outputs, item, expected in zip(answers, self._inputs, self._found, strict=True):
            got = self._detect(outputs, item)
            if expected is not None and got is not None:
                moved += _moves(expected, got) + _moves(got, expected)
        return float(np.mean(moved))

    def _detect(self, outputs: Outputs, item: Prepared) -> Detections | None:
        if self._decode is None or item.placement is None:
            return None
        return self._decode(outputs, item.placement)


def relative_error(reference: Sequence[Outputs], answers: Sequence[Outputs]) -> float:
    """Return the mean over the outputs of squared error / variance."""
    errors, powers = [], []
    for expected, got in zip(reference, answers, strict=True):
        powers.append([_power(e) for e in expected])
        errors.append([_squared_error(e, g) for e, g in zip(expected, got, strict=True)])
    return float(np.mean(np.sum(errors, axis=0) / np.maximum(np.sum(powers, axis=0), 1e-12)))


def _power(values: Array) -> float:
    return float(np.var(values)) if values.size else 0.0


def _squared_error(expected: Array, got: Array) -> float:
    # A model may answer with as many rows as it finds objects: other rows are another answer.
    if expected.shape != got.shape:
        return max(_power(expected), _power(got))
    return float(np.mean((got - expected) ** 2)) if expected.size else 0.0


def _moves(from_: Detections, to: Detections) -> list[float]:
    """Return, for each detection, how far its best counterpart is: squared score and overlap."""
    if not len(from_):
        return []
    if not len(to):
        return [1.0] * len(from_)
    overlap = iou_matrix(from_.boxes, to.boxes)
    overlap[from_.class_ids[:, None] != to.class_ids[None, :]] = 0.0
    best = overlap.argmax(axis=1)
    share = overlap[np.arange(len(from_)), best]
    score = np.abs(to.scores[best] - from_.scores) / np.maximum(from_.scores, 1e-6)
    cost = np.where(share > 0, score**2 + (1 - share) ** 2, 1.0)
    moves: list[float] = np.minimum(cost, 1.0).tolist()
    return moves


def _best_class(outputs: Outputs, spec: ModelSpec) -> str:
    return classify(outputs, spec)[0][0]


def _numbers(outputs: Outputs, item: Prepared, spec: ModelSpec) -> NDArray[np.float64]:
    if spec.output.head == "regress":
        return np.asarray(outputs[0], dtype=np.float64).ravel()
    return np.array([anomaly_score(outputs, item.tensor, spec)])
