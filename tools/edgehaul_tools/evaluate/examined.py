"""What is known of a model on the samples, before intervals, comparisons and the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.evaluate.bootstrap import Scores
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.result import ClassRow, Confusion, Events

Image = NDArray[np.uint8]
LOWER_IS_BETTER = ("mae", "rmse", "false_alarm_rate", "ece", "ece_mass")
"""Figures that are errors."""


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One thing to look at in the page.

    Attributes:
        kind: What it shows, as a heading over all of the kind.
        caption: What it is.
        image: A picture, BGR; or
        svg: A drawing.
    """

    kind: str
    caption: str
    image: Image | None = None
    svg: str = ""


def no_exhibits(_limit: int) -> list[Exhibit]:
    """Return none."""
    return []


@dataclass(frozen=True, eq=False)
class SliceOf:
    """A part of the samples.

    Attributes:
        kind: What they have in common.
        name: Which of them.
        mask: (n,) which samples are in it.
        samples: How many; objects where only their size counts.
        scores: Other scores, where it is not the samples that are chosen.
    """

    kind: str
    name: str
    mask: NDArray[np.bool_]
    samples: int
    scores: Scores | None = None


@dataclass(frozen=True, eq=False)
class Examined:
    """A model's answers on the samples and what follows from them.

    Attributes:
        candidate: The model.
        labels: Names of its classes, as far as they were measured.
        scores: Its answers.
        main: The figure that it is judged by.
        names: Name of each sample's picture or recording, for what it was trained on.
        slices: Parts of the samples.
        classes: Figures of each class.
        confusion: Where there are classes.
        events: Of trace models that report events.
        extra: Further figures without intervals.
        fit_on: Probabilities and true classes of the validation part, for temperatures.
        exhibits: Makes at most so many things to look at, of each kind.
        warnings: What else the user should know.
    """

    candidate: Candidate
    labels: tuple[str, ...]
    scores: Scores
    main: str
    names: tuple[str, ...]
    slices: tuple[SliceOf, ...] = ()
    classes: tuple[ClassRow, ...] = ()
    confusion: Confusion | None = None
    events: Events | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    fit_on: tuple[NDArray[Any], NDArray[np.int64]] | None = None
    exhibits: Callable[[int], list[Exhibit]] = no_exhibits
    warnings: tuple[str, ...] = ()


def defined(value: float) -> float | None:
    """Return a figure, or none where it is undefined: JSON has no NaN."""
    return float(value) if np.isfinite(value) else None
