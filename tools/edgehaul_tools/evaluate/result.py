"""What an evaluation found, as ``report.json`` keeps it; the page shows only this."""

from __future__ import annotations

import msgspec

from edgehaul.bundle.spec import Task
from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.evaluate.calibration import ReliabilityBin, Temperature
from edgehaul_tools.evaluate.ranking import OperatingPoint


class ClassRow(msgspec.Struct, frozen=True):
    """Figures of one class.

    Attributes:
        label: Its name.
        samples: Objects or samples of it.
        figures: By name; none where one is undefined.
    """

    label: str
    samples: int
    figures: dict[str, float | None]


class Confusion(msgspec.Struct, frozen=True):
    """How often what was true was answered as what.

    Attributes:
        rows: What was true.
        columns: What was answered.
        counts: One row for each of ``rows``.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Calibration(msgspec.Struct, frozen=True):
    """Whether a model is as often right as it says.

    Attributes:
        ece: Expected calibration error over bins of equal width.
        ece_mass: The same over bins with equally many answers.
        bins: The bins of equal width.
        temperature: What one number could mend, where it was asked for.
    """

    ece: float
    ece_mass: float
    bins: tuple[ReliabilityBin, ...]
    temperature: Temperature | None = None


class Slice(msgspec.Struct, frozen=True):
    """The main figure on a part of the samples.

    Attributes:
        kind: What they have in common: ``camera``, ``light``, ``size``, ``recording``,
            ``hour``.
        name: Which of them.
        samples: How many; of the kind ``size`` objects.
        figure: The main figure.
        thin: Whether they are too few to conclude anything.
    """

    kind: str
    name: str
    samples: int
    figure: Estimate
    thin: bool


class Events(msgspec.Struct, frozen=True):
    """What a trace model reports as events, beside those that truly happened.

    Attributes:
        true: Events that truly happened.
        found: Of these, those that a report of the same kind overlaps.
        reported: Reports.
        false_alarms: Reports that overlap no event of their kind.
        hours: Hours of recordings that were judged.
    """

    true: int
    found: int
    reported: int
    false_alarms: int
    hours: float


class ModelResult(msgspec.Struct, frozen=True):
    """What was measured of one model.

    Attributes:
        name: Of the model.
        path: What the user named.
        sha256: Of the ONNX file.
        task: What it is for.
        main: Name of the figure that it is judged by.
        figures: All figures by name.
        classes: Figures of each class.
        confusion: Where there are classes; of detectors at the model's threshold.
        calibration: Of classifiers.
        thresholds: The model's threshold and others that one may want. Of detectors
            ``false_alarm_rate`` is the number of false detections for each picture.
        slices: The main figure on parts of the samples.
        events: Of trace models that report events.
        warnings: What else the user should know.
    """

    name: str
    path: str
    sha256: str
    task: Task
    main: str
    figures: dict[str, Estimate]
    classes: tuple[ClassRow, ...] = ()
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    thresholds: tuple[OperatingPoint, ...] = ()
    slices: tuple[Slice, ...] = ()
    events: Events | None = None
    warnings: tuple[str, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Two models on the same samples.

    Attributes:
        first: Name of one.
        second: Name of the other.
        figure: What is compared.
        difference: First minus second, from resamples that both are measured on.
        p: Of the bootstrap, two-sided, corrected for the number of comparisons (Holm).
        p_uncorrected: Before that.
        mcnemar_p: Of McNemar's exact test, for classifiers.
        verdict: In words.
    """

    first: str
    second: str
    figure: str
    difference: Estimate
    p: float
    p_uncorrected: float
    mcnemar_p: float | None
    verdict: str


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation.

    Attributes:
        edgehaul: Version that made it.
        data: The dataset.
        part: Which part of it: ``train``, ``val``, ``test`` or ``all``.
        samples: Number of pictures or windows.
        unit: What is resampled together: ``picture``, ``group``, ``recording`` or ``stretch``
            (of a recording, where there are few of them).
        units: Number of these.
        resamples: Of each interval; those of slices have fewer.
        seed: Of the resamples.
        models: What was measured of each model.
        comparisons: Of each pair, where it was asked for.
        warnings: What else the user should know.
    """

    edgehaul: str
    data: str
    part: str
    samples: int
    unit: str
    units: int
    resamples: int
    seed: int
    models: tuple[ModelResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()


def plural(unit: str) -> str:
    """Return the name of a unit for several of them."""
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"
