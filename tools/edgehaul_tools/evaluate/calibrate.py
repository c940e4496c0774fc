"""The calibration of a classifier's answers, and the temperature that would mend it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehaul_tools.evaluate.calibration import (
    Temperature,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    tempered,
)
from edgehaul_tools.evaluate.classification import NO_ANSWER, ClassScores
from edgehaul_tools.evaluate.result import Calibration


def calibrate(
    scores: ClassScores,
    fit_on: tuple[NDArray[np.float64], NDArray[np.int64]] | None,
    *,
    same_part: bool,
) -> Calibration | None:
    """Return whether a classifier is as often right as it says; none where nothing is answered.

    Args:
        scores: Its answers.
        fit_on: Probabilities (m, C) and true classes (m,) to fit a temperature on; none: none.
        same_part: Whether these are the evaluated samples themselves.
    """
    usable = scores.answered != NO_ANSWER
    if not usable.any():
        return None
    confidence, correct = scores.confidence[usable], scores.correct[usable]
    bins = reliability(confidence, correct)
    ece = calibration_error(bins)
    temperature = None
    if fit_on is not None:
        numbers = np.isfinite(fit_on[0]).all(axis=1)
        known, true = fit_on[0][numbers], fit_on[1][numbers]
        value = fit_temperature(known, true)
        after = tempered(scores.probabilities[usable], value).max(axis=1)
        temperature = Temperature(
            value=value,
            samples=len(true),
            nll_before=negative_log_likelihood(known, true),
            nll_after=negative_log_likelihood(tempered(known, value), true),
            ece_before=ece,
            ece_after=calibration_error(reliability(after, correct)),
            same_part=same_part,
        )
    mass = calibration_error(reliability(confidence, correct, how="mass"))
    return Calibration(ece, mass, bins, temperature)
