"""How well a form answers: against the truth, and against fp32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ImageInput, ModelSpec
from edgehaul.vision.decode import Detections, decoder_for
from edgehaul.vision.match import f1, match_detections
from edgehaul.vision.placement import Placement
from edgehaul_tools.bench.zoo.samples import Samples
from edgehaul_tools.export.runtime import Run

Answers = Sequence[NDArray[Any]]
_IOU = 0.5


class Verdict(msgspec.Struct, frozen=True):
    """How well a form answers.

    Attributes:
        value: Accuracy, or of detectors F1 at an overlap of 0.5.
        agreement: With fp32: share of equal classes, or F1 between both.
    """

    value: float
    agreement: float


def answers_of(run: Run, samples: Samples) -> list[NDArray[Any]]:
    """Return a model's first output for each sample."""
    return [run(one[None])[0] for one in samples.tensors]


def judge(spec: ModelSpec, samples: Samples, reference: Answers, answers: Answers) -> Verdict:
    """Compare answers with the truth and with those of fp32.

    Args:
        spec: What the outputs mean.
        samples: What was asked.
        reference: The outputs of fp32, one for each sample.
        answers: Those of the form.
    """
    if isinstance(spec.input, ImageInput) and spec.task == "detect":
        expected, found = _detections(spec, reference), _detections(spec, answers)
        return Verdict(_f1(samples.objects, found), _f1(expected, found))
    own, theirs = _classes(answers), _classes(reference)
    return Verdict(float((own == samples.classes).mean()), float((own == theirs).mean()))


def _classes(answers: Answers) -> NDArray[np.int64]:
    return np.array([int(np.argmax(one)) for one in answers])


def _detections(spec: ModelSpec, answers: Answers) -> list[Detections]:
    canvas = spec.input
    assert isinstance(canvas, ImageInput)  # noqa: S101 - a detector's
    decode, place = decoder_for(spec), Placement(1, 1, 0, 0, canvas.width, canvas.height)
    return [decode([one], place) for one in answers]


def _f1(expected: Sequence[Detections], found: Sequence[Detections]) -> float:
    pairs = [match_detections(e, f, _IOU) for e, f in zip(expected, found, strict=True)]
    matched, missed, false = (sum(column) for column in zip(*pairs, strict=True))
    return f1(matched, missed, false)
