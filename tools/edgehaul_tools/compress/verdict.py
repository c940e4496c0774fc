"""What the user should do, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from edgehaul_tools.compress.candidate import Candidate, Wanted


def verdict_of(candidates: Sequence[Candidate], chosen: Sequence[Candidate], wanted: Wanted) -> str:
    """Return what was decided and why.

    Args:
        candidates: What was tried, the fp32 model first.
        chosen: What became a variant.
        wanted: What had to be reached.
    """
    if not chosen:
        return f"keep fp32: {_why_not(candidates, wanted)}"
    best = chosen[0]
    speed = f"{1 / best.latency_ratio:.2f} times as fast as fp32 here, " if wanted.timed else ""
    return (
        f"take {best.summary}: {speed}{best.size_ratio:.2f} of its size, "
        f"drop {100 * best.loss:.2f} points, agreement {best.agreement:.3f}"
    )


def _why_not(candidates: Sequence[Candidate], wanted: Wanted) -> str:
    tried = [one for one in candidates if not one.is_given]
    if not tried:
        return "there was no time to try anything: give a larger --budget"
    right = [one for one in tried if not wanted.fault_of(one)]
    if right:
        best = min(right, key=lambda one: one.latency_ratio)
        reason = wanted.slowness_of(best) or "it failed on the data of the proof"
        return f"{best.summary} answers as well, but: {reason}"
    best = min(tried, key=lambda one: one.loss)
    return f"the nearest, {best.summary}, {wanted.fault_of(best)}"
