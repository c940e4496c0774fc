"""The Pareto front of what was tried, and the choice from it."""

from __future__ import annotations

from collections.abc import Sequence

from edgehaul_tools.compress.candidate import ALIKE, Candidate, Wanted


def frontier(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return those that no other one beats in loss, time and size at once, the fastest first."""
    kept = [
        one
        for index, one in enumerate(candidates)
        if not any(
            _beats(other, one) or (index > place and _equals(other, one))
            for place, other in enumerate(candidates)
            if place != index
        )
    ]
    return sorted(kept, key=lambda one: one.latency_ratio)


def choose(candidates: Sequence[Candidate], wanted: Wanted) -> Candidate | None:
    """Return the fastest candidate that is good enough; of those as fast, the best answers.

    Where times of this machine do not count, the best answers decide alone.

    Args:
        candidates: What was tried.
        wanted: What must be reached.
    """
    fit = [one for one in candidates if one.can_be_chosen and not wanted.refusal_of(one)]
    if not fit:
        return None
    if wanted.timed:
        fastest = min(one.latency_ratio for one in fit)
        fit = [one for one in fit if one.latency_ratio <= fastest * (1 + ALIKE)]
    return min(fit, key=lambda one: (one.loss, -one.agreement, one.size_bytes))


def _beats(a: Candidate, b: Candidate) -> bool:
    pairs = _pairs(a, b)
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def _equals(a: Candidate, b: Candidate) -> bool:
    return all(x == y for x, y in _pairs(a, b))


def _pairs(a: Candidate, b: Candidate) -> tuple[tuple[float, float], ...]:
    return (
        (a.loss, b.loss),
        (a.latency_ratio, b.latency_ratio),
        (a.size_bytes, b.size_bytes),
    )
