"""Which candidates become variants of the bundle, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from edgehaul_tools.compress.candidate import Candidate, Key, Wanted
from edgehaul_tools.compress.frontier import ALIKE, choose, frontier
from edgehaul_tools.compress.result import Judged
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.target import Target, target_here


def variants_for(
    candidates: Sequence[Candidate], targets: Sequence[Target], wanted: Wanted
) -> tuple[Candidate, ...]:
    """Return the best candidate for each target, without twins.

    On this machine's kind of processor times are known; on others the form decides that is said
    to be the fastest there, and the box times what it is given.

    Args:
        candidates: What was tried.
        targets: Kinds of processors.
        wanted: What must be reached.
    """
    chosen: list[Candidate] = []
    for target in targets:
        here = target == target_here()
        asked = msgspec.structs.replace(wanted, timed=here)
        for forms in ((*target.static, *target.dynamic),) if here else _ranked(target):
            one = choose([c for c in candidates if _is_of(c, forms)], asked)
            if one is not None:
                chosen.append(one)
                break
    return tuple({one.key: one for one in chosen}.values())


def _ranked(target: Target) -> tuple[tuple[Form, ...], ...]:
    return tuple((form,) for form in (*target.static, *target.dynamic))


def _is_of(one: Candidate, forms: Collection[Form]) -> bool:
    """Return whether a candidate's form is among these; narrower weights are right, too."""
    if one.plan is None:
        return not one.is_given
    own = one.plan.form
    return any(f.name == own.name and own.weight_bits <= f.weight_bits for f in forms)


def judged(
    candidates: Sequence[Candidate],
    chosen: Sequence[Candidate],
    refused: Mapping[Key, str],
    wanted: Wanted,
) -> tuple[Judged, ...]:
    """Return every candidate with what became of it.

    Args:
        candidates: What was tried.
        chosen: Those that became variants.
        refused: Those that failed on the data of the proof, and how.
        wanted: What had to be reached.
    """
    front = frontier(candidates)
    return tuple(
        Judged(one, one in chosen, one in front, _why(one, chosen, refused, wanted))
        for one in candidates
    )


def _why(
    one: Candidate, chosen: Sequence[Candidate], refused: Mapping[Key, str], wanted: Wanted
) -> str:
    if one in chosen:
        return "chosen: the fastest that is good enough"
    if one.is_given:
        return "the model as it was given, which every bundle carries"
    if one.key in refused:
        return f"fails on the data of the proof: {refused[one.key]}"
    refusal = wanted.refusal_of(one)
    if refusal or not chosen:
        return refusal or "not needed"
    best = chosen[0]
    if one.latency_ratio > best.latency_ratio * (1 + ALIKE):
        return f"good enough, but {one.latency_ratio / best.latency_ratio:.2f} times as slow"
    return "good enough and as fast, but its answers are further from fp32"
