"""Whether a classifier is as often right as it says.

Sources: M. P. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning"
(2015) for the expected calibration error; C. Guo et al., "On Calibration of Modern Neural
Networks" (2017) for the temperature.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Bins = Literal["width", "mass"]
BINS = 15
_LEAST_PROBABILITY = 1e-12
LEAST_TEMPERATURE, MOST_TEMPERATURE = 0.05, 20.0
"""The range that is searched; a fit at its end means that no temperature helps."""
_GOLDEN = (math.sqrt(5) - 1) / 2
_TOLERANCE = 1e-6


class ReliabilityBin(msgspec.Struct, frozen=True):
    """Answers of about the same confidence.

    Attributes:
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
        count: How many they are.
    """

    confidence: float
    accuracy: float
    count: int


class Temperature(msgspec.Struct, frozen=True):
    """What dividing the logits by one number does to the calibration.

    Attributes:
        value: The number; above 1 the model is too sure of itself.
        samples: Samples that it was fitted on.
        nll_before: Mean negative log-likelihood of the true classes before, on these.
        nll_after: And after.
        ece_before: Calibration error of the evaluated part before.
        ece_after: And after.
        same_part: Whether it was fitted on the very samples that are evaluated: the error
            after is too good then.
    """

    value: float
    samples: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    same_part: bool


def reliability(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    bins: int = BINS,
    how: Bins = "width",
) -> tuple[ReliabilityBin, ...]:
    """Return the filled bins of a reliability diagram, by confidence.

    Args:
        confidence: (n,) probability of the answer given, 0..1.
        correct: (n,) whether it is right.
        bins: Number of bins.
        how: Bins of equal ``width``, or of equal ``mass``: about as many answers in each.
    """
    if how == "width":
        number = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        parts = [np.flatnonzero(number == b) for b in range(bins)]
    else:
        parts = np.array_split(np.argsort(confidence, kind="stable"), bins)
    return tuple(
        ReliabilityBin(float(confidence[p].mean()), float(correct[p].mean()), len(p))
        for p in parts
        if len(p)
    )


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Return the expected calibration error: the mean of |confidence - accuracy|, 0..1."""
    total = sum(b.count for b in bins)
    if not total:
        return math.nan
    return sum(b.count * abs(b.confidence - b.accuracy) for b in bins) / total


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities (n, C) as if the logits had been divided by ``temperature``.

    The logits are not needed: up to a constant of each row they are the logarithms.
    """
    logits = np.log(np.maximum(probabilities, _LEAST_PROBABILITY)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return result


def negative_log_likelihood(probabilities: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    """Return the mean of -log of the true class's probability."""
    chosen = probabilities[np.arange(len(true)), true]
    return float(-np.log(np.maximum(chosen, _LEAST_PROBABILITY)).mean())


def fit_temperature(probabilities: NDArray[np.float64], true: NDArray[np.int64]) -> float:
    """Return the temperature with the least negative log-likelihood, in 0.05..20.

    The likelihood has one minimum over the logarithm of the temperature, which a golden-section
    search finds.

    Args:
        probabilities: (n, C), all numbers.
        true: (n,) true classes.
    """

    def cost(log_temperature: float) -> float:
        return negative_log_likelihood(tempered(probabilities, math.exp(log_temperature)), true)

    low, high = math.log(LEAST_TEMPERATURE), math.log(MOST_TEMPERATURE)
    while high - low > _TOLERANCE:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if cost(left) <= cost(right):
            high = right
        else:
            low = left
    if low == math.log(LEAST_TEMPERATURE):
        return LEAST_TEMPERATURE
    return MOST_TEMPERATURE if high == math.log(MOST_TEMPERATURE) else math.exp((low + high) / 2)
