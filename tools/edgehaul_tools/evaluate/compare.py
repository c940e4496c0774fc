"""Which of two models is better, measured on the same samples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import UsageError
from edgehaul_tools.evaluate.bootstrap import (
    CONFIDENCE,
    Estimate,
    difference_p,
    estimates_of,
    holm,
    short,
)
from edgehaul_tools.evaluate.candidate import Candidate
from edgehaul_tools.evaluate.candidates import question_of
from edgehaul_tools.evaluate.classification import ClassScores
from edgehaul_tools.evaluate.examined import LOWER_IS_BETTER, Examined
from edgehaul_tools.evaluate.result import Comparison

Draws = Mapping[str, NDArray[np.float64]]


def require_comparable(candidates: Sequence[Candidate]) -> None:
    """Refuse models that no figure compares, before any of them is measured.

    Raises:
        UsageError: There are fewer than two, or they answer different questions.
    """
    if len(candidates) < 2:  # noqa: PLR2004 - a pair
        raise UsageError("--compare needs two models or more", remedy="name another model")
    asked = {question_of(c): c.name for c in candidates}
    if len(asked) > 1:
        named = ", ".join(f"{name} ({question})" for question, name in asked.items())
        raise UsageError(
            f"these models answer different questions: {named}",
            remedy="compare those with the same goal, or leave out --compare",
        )


def compare_all(examined: Sequence[Examined], draws: Sequence[Draws]) -> tuple[Comparison, ...]:
    """Compare each pair of models by their main figure, or one that all of them have.

    Both are measured on the same resamples, so that what is hard for both does not blur the
    difference. The p-values are corrected for the number of pairs.

    Args:
        examined: The models.
        draws: Each one's figures in the same resamples.

    Raises:
        UsageError: There are fewer than two models, or too few units to resample.
    """
    require_comparable([e.candidate for e in examined])
    if not all(draws):
        raise UsageError(
            "there is only one unit to resample, so that no difference can be judged",
            remedy="give more samples, or leave out --compare and take the figures as they are",
        )
    if len({int(e.scores.units.max()) for e in examined}) > 1:
        raise UsageError(
            "the models do not answer on the same recordings",
            remedy="compare models with windows of about the same length",
        )
    main = _common_figure(examined)
    pairs = list(itertools.combinations(range(len(examined)), 2))
    values = [e.scores.figures(np.ones(len(e.scores.units)))[main] for e in examined]
    differences = [draws[a][main] - draws[b][main] for a, b in pairs]
    raw = [difference_p(difference) for difference in differences]
    corrected = holm(raw)
    found = []
    for (a, b), difference, p, p_raw in zip(pairs, differences, corrected, raw, strict=True):
        estimate = estimates_of({main: values[a] - values[b]}, {main: difference})[main]
        names = (examined[a].candidate.name, examined[b].candidate.name)
        found.append(
            Comparison(
                *names,
                figure=main,
                difference=estimate,
                p=p,
                p_uncorrected=p_raw,
                mcnemar_p=_mcnemar(examined[a], examined[b]),
                verdict=verdict_of(*names, main, estimate, p),
            )
        )
    return tuple(found)


def _common_figure(examined: Sequence[Examined]) -> str:
    """Return the figure that all are judged by.

    What is an event depends on which class is normal: where that differs, every class counts.
    """
    mains = {e.main for e in examined}
    if "event_f1" not in mains:
        return examined[0].main
    normal = {e.labels[e.scores.normal] for e in examined if isinstance(e.scores, ClassScores)}
    return "event_f1" if len(mains) == 1 and len(normal) == 1 else "macro_f1"


def verdict_of(first: str, second: str, figure: str, difference: Estimate, p: float) -> str:
    """Return what a difference (first minus second) means, in words."""
    if difference.value is None:
        return f"{figure} is undefined: no comparison"
    if p >= 1 - CONFIDENCE:
        return f"no difference shown at this size (p = {p:.3f})"
    first_is_better = (difference.value > 0) != (figure in LOWER_IS_BETTER)
    better, worse = (first, second) if first_is_better else (second, first)
    amount = short(abs(difference.value))
    return f"{better} is better than {worse} by {amount} {figure} (p = {p:.3f})"


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value of McNemar's exact test (Q. McNemar, 1947).

    Args:
        first_right: (n,) where one classifier is right.
        second_right: (n,) where the other is.
    """
    only_first = int((first_right & ~second_right).sum())
    only_second = int((~first_right & second_right).sum())
    apart, few = only_first + only_second, min(only_first, only_second)
    if not apart:
        return 1.0
    logs = [
        math.lgamma(apart + 1) - math.lgamma(k + 1) - math.lgamma(apart - k + 1)
        for k in range(few + 1)
    ]
    tail = sum(math.exp(log - apart * math.log(2)) for log in logs)
    return min(1.0, 2 * tail)


def _mcnemar(a: Examined, b: Examined) -> float | None:
    first, second = a.scores, b.scores
    if not isinstance(first, ClassScores) or not isinstance(second, ClassScores):
        return None
    # Windows overlap, so that their mistakes are not independent, as the test wants them.
    if a.candidate.spec.task != "classify" or a.names != b.names:
        return None
    return mcnemar(first.correct, second.correct)
