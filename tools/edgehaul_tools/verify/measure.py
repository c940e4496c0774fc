"""One measurement for verify and for every search of a smaller model: one pass for each model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgehaul.bundle.spec import ModelSpec
from edgehaul.config.recipe import Recipe
from edgehaul.errors import DataError, DatasetError
from edgehaul_tools.dataset.samples import DetectionDataset
from edgehaul_tools.evaluate.bootstrap import Estimate, Scores, draws_of, interval
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.examined import LOWER_IS_BETTER, defined
from edgehaul_tools.evaluate.ground_truth import Answer, GroundTruth, count_lost
from edgehaul_tools.evaluate.labelled_pictures import picture_truth
from edgehaul_tools.evaluate.labelled_windows import window_truth
from edgehaul_tools.export.runtime import Run
from edgehaul_tools.quantize.answers import Agreement, Answers, Outputs, Prepared
from edgehaul_tools.train.sequence.windows import Recording
from edgehaul_tools.verify.agreement import METRIC, agreement_scores

Labelled = DetectionDataset | Sequence[Recording]
"""What can be measured on: pictures, or trips and series."""

RESAMPLES = 1000
_LEAST_ERROR = 1e-12
_Draws = Mapping[str, NDArray[np.float64]]


class ClassDrop(msgspec.Struct, frozen=True):
    """What one class loses.

    Attributes:
        label: Its name.
        samples: Samples or objects of it.
        fp32: Its figure with fp32; none where undefined.
        value: With the variant.
        drop: Loss against fp32, with the paired 95 % interval; see :class:`Measured`.
    """

    label: str
    samples: int
    fp32: float | None
    value: float | None
    drop: Estimate


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a model reached, beside fp32 on the same samples.

    Attributes:
        metric: Name of the figure that it is judged by: ``map50``, ``accuracy``, ``event_f1``,
            ``macro_f1``, ``auroc``, ``mae``; without labels ``agreement``.
        fp32: The figure of fp32.
        value: The figure of this model; none where it is undefined.
        drop: What is lost against fp32, negative where it is better, with the paired 95 %
            interval: both models on the same resamples. Of figures that are shares 0.01 is one
            point; of errors (``mae``) it is the growth as a part of fp32's, 0.01 is 1 %.
        agreement: With the answers of fp32; of classifiers top-1 agreement.
        samples: Number of samples.
        unit: What was resampled together, as one word.
        units: Number of these.
        figures: All figures of this model but those of classes.
        class_figure: What ``classes`` hold: ``ap50``, ``recall``, ``f1``, ``mae``.
        classes: Each class, the largest loss first.
        lost: Answers that are no numbers.
        lost_by_fp32: The same of fp32.
    """

    metric: str
    fp32: float
    value: float | None
    drop: Estimate
    agreement: Agreement
    samples: int
    unit: str
    units: int
    figures: dict[str, float | None]
    class_figure: str = ""
    classes: tuple[ClassDrop, ...] = ()
    lost: int = 0
    lost_by_fp32: int = 0


@dataclass(frozen=True, eq=False)
class Answered:
    """What a model answered in its one pass, small enough to keep.

    Attributes:
        to_inputs: As it is compared with fp32.
        to_samples: As it is compared with the truth; empty without labels.
    """

    to_inputs: Answers
    to_samples: tuple[Answer, ...] = ()


@dataclass(frozen=True, eq=False)
class _Figures:
    """Figures on all samples and in each resample."""

    values: dict[str, float]
    draws: _Draws


class Yardstick:
    """Measures models against fp32 on the same samples: each costs one pass over the data.

    Used as ``Yardstick(spec, fp32_run, labelled=..., inputs=...)``, then for each candidate
    ``measure(run) -> Measured``. ``run`` takes a tensor and returns the model's outputs, as
    :func:`edgehaul_tools.export.runtime.runner` gives it. fp32 is run once, when this is built.

    With labelled samples alone, one pass gives both the metric and the agreement. With inputs
    alone the metric is the agreement, the drop is 1 - agreement, and inputs are resampled. With
    both, the agreement is that on ``inputs``, which costs a second pass.

    Args:
        spec: What goes into the models and comes out.
        fp32: Runs the model that all are compared with.
        labelled: A dataset of pictures, or trips or series; best what nobody learnt from. Or
            what :func:`truth_of` made of it.
        inputs: Gives inputs without labels from the start, as ``InputSource.prepared`` does, the
            same ones each time; ``kept_inputs(source, spec)`` keeps them in memory if they fit.
        recipe: By which the model was trained, where that is known: says when a window is an
            event.
        normal: Class of the normal pictures, for anomaly models.
        resamples: For the intervals; 0 leaves them out. They cost time with each model.
        seed: The same seed, the same resamples.
        where: The model, for messages.

    Attributes:
        truth: The labelled samples, where there are any.
        reference: What fp32 answered.

    Raises:
        DataError: There is nothing to measure on.
        DatasetError: The samples are not labelled for this task, or too few kinds of them.
        SpecMismatchError: The model is none for these samples.
    """

    def __init__(  # noqa: PLR0913 - what is measured on, and how
        self,
        spec: ModelSpec,
        fp32: Run,
        *,
        labelled: Labelled | GroundTruth | None = None,
        inputs: Callable[[], Iterable[Prepared]] | None = None,
        recipe: Recipe | None = None,
        normal: str = "",
        resamples: int = RESAMPLES,
        seed: int = 0,
        where: Path = Path("model"),
    ) -> None:
        if labelled is None and inputs is None:
            raise DataError("there is nothing to measure on", where=where, remedy="give inputs")
        self._spec, self._resamples, self._seed = spec, resamples, seed
        self._inputs = inputs
        if labelled is None or isinstance(labelled, GroundTruth):
            self.truth = labelled
        else:
            candidate = Candidate("fp32", where, "", spec, fp32, recipe)
            self.truth = truth_of(candidate, labelled, normal)
        self.reference = self.answer(fp32)
        self._expected = self._figures_of(self._scores(self.reference))
        if not math.isfinite(self._expected.values[self.metric]):
            raise DatasetError(
                f"{self.metric} is undefined on these samples: what it tells apart does not occur",
                where=where,
                remedy="give samples with every kind that the model tells apart, or leave labels "
                "out",
            )

    @property
    def metric(self) -> str:
        """Name of the figure that models are judged by."""
        return self.truth.main if self.truth is not None else METRIC

    def measure(self, run: Run) -> Measured:
        """Run a model once over the data and compare it with fp32.

        Raises:
            DataError: A picture cannot be decoded.
            ModelError: The model refuses its input.
            SpecMismatchError: It answers otherwise than the spec says.
        """
        return self.judge(self.answer(run))

    def answer(self, run: Run) -> Answered:
        """Run a model once over the data; for errors see :meth:`measure`."""
        if self.truth is None:
            assert self._inputs is not None  # noqa: S101 - asked in the constructor
            return Answered(Answers(run, self._inputs(), self._spec))
        kept = _Keeping(run, self.truth)
        answers = Answers(kept, kept.items(), self._spec)
        if self._inputs is not None:
            answers = Answers(run, self._inputs(), self._spec)
        return Answered(answers, tuple(kept.answers))

    def judge(self, answered: Answered) -> Measured:
        """Compare what a model answered with what fp32 answered."""
        scores, truth = self._scores(answered), self.truth
        got, units = self._figures_of(scores), scores.units
        return Measured(
            metric=self.metric,
            fp32=self._expected.values[self.metric],
            value=defined(got.values[self.metric]),
            drop=_drop(self.metric, self._expected, got),
            agreement=self.reference.to_inputs.agreement_of(answered.to_inputs),
            samples=len(units),
            unit=truth.unit if truth else "input",
            units=len(np.unique(units)),
            figures={n: defined(v) for n, v in got.values.items() if ":" not in n},
            class_figure=truth.class_figure if truth else "",
            classes=_class_drops(truth, self._expected, got) if truth else (),
            lost=count_lost(answered.to_samples),
            lost_by_fp32=count_lost(self.reference.to_samples),
        )

    def _scores(self, answered: Answered) -> Scores:
        if self.truth is not None:
            return self.truth.score(answered.to_samples)
        return agreement_scores(self.reference.to_inputs, answered.to_inputs)

    def _figures_of(self, scores: Scores) -> _Figures:
        values = scores.figures(np.ones(len(scores.units)))
        quick = self.truth.to_resample(scores) if self.truth is not None else scores
        return _Figures(values, draws_of(quick, self._resamples, self._seed))


def truth_of(candidate: Candidate, labelled: Labelled, normal: str = "") -> GroundTruth:
    """Return what is true of labelled samples, for models that answer as this one does.

    Raises:
        DatasetError: They are not labelled for the task.
        SpecMismatchError: The model is none for these samples.
    """
    if not len(labelled):
        raise DatasetError("there are no samples", where=candidate.path, remedy="give some")
    if isinstance(labelled, DetectionDataset):
        return picture_truth(candidate, labelled, normal)
    return window_truth(candidate, labelled)


class _Keeping:
    """Runs a model and keeps what it answered to the labelled sample that is under way."""

    def __init__(self, run: Run, truth: GroundTruth) -> None:
        self._run, self._truth = run, truth
        self._item: Prepared | None = None
        self.answers: list[Answer] = []

    def items(self) -> Iterator[Prepared]:
        for item in self._truth.inputs:
            self._item = item
            yield item

    def __call__(self, tensor: NDArray[Any]) -> Outputs:
        assert self._item is not None  # noqa: S101 - it is the one whose tensor this is
        outputs = self._run(tensor)
        self.answers.append(self._truth.answer(outputs, self._item))
        return outputs


def _drop(name: str, expected: _Figures, got: _Figures) -> Estimate:
    value = _loss(name, np.array([expected.values[name]]), np.array([got.values[name]]))[0]
    if not math.isfinite(value):
        return Estimate(None)
    ends = None
    if name in expected.draws and name in got.draws:
        ends = interval(_loss(name, expected.draws[name], got.draws[name]))
    return Estimate(float(value), *ends) if ends else Estimate(float(value))


def _loss(
    name: str, expected: NDArray[np.float64], got: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what is lost (n,): of shares the difference, of errors the growth."""
    if name.partition(":")[0] in LOWER_IS_BETTER:
        return (got - expected) / np.maximum(expected, _LEAST_ERROR)
    return expected - got


def _class_drops(truth: GroundTruth, expected: _Figures, got: _Figures) -> tuple[ClassDrop, ...]:
    drops = []
    for label, samples in truth.samples_of.items():
        name = f"{truth.class_figure}:{label}"
        if not samples or name not in expected.values:
            continue
        fp32, value = defined(expected.values[name]), defined(got.values[name])
        drops.append(ClassDrop(label, samples, fp32, value, _drop(name, expected, got)))
    return tuple(sorted(drops, key=_worst_first))


def _worst_first(one: ClassDrop) -> float:
    return -one.drop.value if one.drop.value is not None else math.inf
