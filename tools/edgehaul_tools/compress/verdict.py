"""What the user should do, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from edgehaul_tools.compress.candidate import Candidate, Wanted
from edgehaul_tools.compress.choice import Choice


def verdict_of(
    candidates: Sequence[Candidate], chosen: Sequence[Choice], wanted: Wanted, here: str
) -> str:
    """Return what was decided and why.

    Args:
        candidates: What was tried, the fp32 model first.
        chosen: What became a variant.
        wanted: What had to be reached; ``timed`` where the model is for this machine's kind.
        here: Name of the target that this machine is.
    """
    lines = [_taken(choice, here) for choice in chosen]
    if wanted.timed and not any(here in choice.targets for choice in chosen):
        for_here = f" on {here}" if chosen else ""
        lines.insert(0, f"keep fp32{for_here}: {_why_not(candidates, wanted)}")
    elif not chosen:
        lines = [f"keep fp32: {_why_not(candidates, wanted)}"]
    return "; ".join(lines)


def _taken(choice: Choice, here: str) -> str:
    one = choice.candidate
    speed = ""
    if here in choice.targets:
        speed = f"{1 / one.latency_ratio:.2f} times as fast as fp32 here, "
    others = [target for target in choice.targets if target != here]
    named = f" for {', '.join(others)}" if others else ""
    return (
        f"take {one.summary}{named}: {speed}{one.size_ratio:.2f} of the size, "
        f"{one.loss_shown} of {one.metric} lost, agreement {one.agreement:.3f}"
    )


def _why_not(candidates: Sequence[Candidate], wanted: Wanted) -> str:
    tried = [one for one in candidates if one.can_be_chosen]
    if not tried:
        return "there was no time to try anything: give a larger --budget"
    right = [one for one in tried if not one.faults]
    if right:
        best = min(right, key=lambda one: one.latency_ratio)
        reason = wanted.slowness_of(best)
        return f"{best.summary} answers as well, but {reason or 'fails in the proof'}"
    best = min(tried, key=lambda one: one.loss)
    return f"the nearest is {best.summary}, whose {wanted.fault_of(best)}"
