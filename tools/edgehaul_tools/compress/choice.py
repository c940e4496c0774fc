"""Which candidates become variants of the bundle, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from edgehaul_tools.compress.candidate import ALIKE, Candidate, Key, Wanted
from edgehaul_tools.compress.frontier import choose, frontier
from edgehaul_tools.compress.result import Judged
from edgehaul_tools.compress.writing import variant_name
from edgehaul_tools.quantize.form import Form
from edgehaul_tools.quantize.target import Target, target_here


@dataclass(frozen=True)
class Choice:
    """What becomes a variant, and for which kinds of processors.

    Attributes:
        candidate: What was chosen.
        targets: Names of the targets that it is the best for.
    """

    candidate: Candidate
    targets: tuple[str, ...]


def variants_for(
    candidates: Sequence[Candidate], targets: Sequence[Target], wanted: Wanted
) -> tuple[Choice, ...]:
    """Return the best candidate for each target that has one, this machine's first.

    On this machine's kind of processor times are known; on others the form decides that is said
    to be the fastest there, and the box times what it is given.

    Args:
        candidates: What was tried.
        targets: Kinds of processors.
        wanted: What must be reached.
    """
    chosen: dict[str, Choice] = {}
    for target in sorted(targets, key=lambda one: one != target_here()):
        one = _best_for(target, candidates, wanted)
        if one is None:
            continue
        name = variant_name(one)  # there is one variant of each form
        before = chosen.get(name, Choice(one, ()))
        chosen[name] = Choice(before.candidate, (*before.targets, target.name))
    return tuple(chosen.values())


def _best_for(target: Target, candidates: Sequence[Candidate], wanted: Wanted) -> Candidate | None:
    forms = (*target.static, *target.dynamic)
    if target == target_here():
        timed = msgspec.structs.replace(wanted, timed=True)
        fit = [one for one in candidates if one.plan is None or _is_of(one, forms)]
        return choose(fit, timed)
    untimed = msgspec.structs.replace(wanted, timed=False)
    for form in forms:  # the fastest first
        one = choose([c for c in candidates if _is_of(c, [form])], untimed)
        if one is not None:
            return one
    return None


def _is_of(one: Candidate, forms: Collection[Form]) -> bool:
    """Return whether a candidate's form is among these; narrower weights are right, too."""
    if one.plan is None:
        return False
    own = one.plan.form
    return any(f.name == own.name and own.weight_bits <= f.weight_bits for f in forms)


def judged(
    candidates: Sequence[Candidate],
    chosen: Sequence[Choice],
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
    targets = {choice.candidate.key: choice.targets for choice in chosen}
    here = target_here().name
    local = next((choice.candidate for choice in chosen if here in choice.targets), None)
    return tuple(
        Judged(
            one,
            targets.get(one.key, ()),
            one in front,
            _why(one, targets.get(one.key, ()), local, refused, wanted),
        )
        for one in candidates
    )


def _why(
    one: Candidate,
    targets: Sequence[str],
    local: Candidate | None,
    refused: Mapping[Key, str],
    wanted: Wanted,
) -> str:
    if targets:
        known = "the fastest that is good enough" if one == local else "good enough"
        return f"chosen for {', '.join(targets)}: {known}"
    if one.is_given:
        return "the model as it was given, which every bundle carries"
    if one.key in refused:
        return f"fails in the proof: {refused[one.key]}"
    return wanted.refusal_of(one) or _why_another(one, local)


def _why_another(one: Candidate, local: Candidate | None) -> str:
    """Return why a candidate that is good enough was not chosen."""
    if not one.can_be_chosen:
        return "good enough, but of the same size and kind as what was given"
    if local is None:
        return "good enough, but another form is said to be faster on the targets"
    slower = one.latency_ratio / local.latency_ratio
    if slower > 1 + ALIKE:
        return f"good enough, but {slower:.2f} times as slow as what was chosen"
    return "good enough and as fast; another is nearer to fp32, or smaller"
