"""The charts of a search: loss against time, and how much each layer suffers."""

from __future__ import annotations

from edgehaul_tools.compress.candidate import Candidate
from edgehaul_tools.compress.result import Compression, Judged
from edgehaul_tools.evaluate.figures import COLORS, INK, MUTED, add_legend, new_figure, to_svg

Chart = tuple[str, str]
"""An SVG and what it shows."""
_MOST_LAYERS = 24
_GOOD, _BAD = COLORS[2], COLORS[3]


def frontier_chart(result: Compression) -> Chart:
    """Draw every candidate by its time and its loss; the front is a line."""
    figure, axes = new_figure(4.8, 3.4)
    for marker, color, label, kept in (
        ("o", COLORS[0], "tried", lambda one: not one.is_chosen),
        ("*", _GOOD, "chosen", lambda one: one.is_chosen),
    ):
        shown = [one.candidate for one in result.judged if kept(one)]
        if shown:
            size = 150 if marker == "*" else 34
            axes.scatter(*_places(shown), s=size, c=color, marker=marker, label=label, zorder=3)
    front = sorted(_front(result.judged), key=lambda one: one.latency_ratio)
    axes.plot(*_places(front), color=MUTED, linewidth=1, label="front")
    limit = 100 * result.wanted.largest_loss(result.metric)
    axes.axhline(limit, color=_BAD, linewidth=1, linestyle="--", label="largest drop")
    axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=":", label="fp32")
    axes.set(xlabel="time / that of fp32", ylabel=f"loss of {result.metric}, points")
    axes.set_xlim(left=0)
    add_legend(axes)
    return to_svg(figure), "Loss and time of what was tried; below and left is better"


def sensitivity_chart(result: Compression) -> Chart:
    """Draw the layers that suffer most when they alone are int8."""
    worst = result.sensitivity[:_MOST_LAYERS][::-1]
    figure, axes = new_figure(4.8, max(2.2, 0.2 * len(worst) + 0.9))
    names = [one.layer if len(one.layer) <= 30 else f"…{one.layer[-29:]}" for one in worst]  # noqa: PLR2004 - what fits
    floats = _left_in_float(result)
    colors = [_BAD if one.layer in floats else COLORS[0] for one in worst]
    axes.barh(names, [one.noise or 0.0 for one in worst], color=colors, height=0.7)
    for place, one in enumerate(worst):
        if one.sqnr_db is not None:
            text = f" {one.sqnr_db:.0f} dB"
            axes.text(one.noise or 0.0, place, text, va="center", fontsize=6.5, color=MUTED)
    axes.tick_params(axis="y", labelsize=6.5)
    axes.set(xlabel="answers move by")
    axes.xaxis.set_major_formatter("{x:.1g}")
    axes.margins(x=0.12)
    more = len(result.sensitivity) - len(worst)
    rest = f"; {more} more suffer less" if more > 0 else ""
    return to_svg(figure), (
        "How far the answers move when one layer alone is int8 (red: left in float; dB: signal "
        f"to quantization noise of its output when all are){rest}"
    )


def _left_in_float(result: Compression) -> set[str]:
    best = result.best_here or next(iter(result.chosen), None)
    plan = best.plan if best is not None else None
    return set(plan.float_units) if plan is not None else set()


def _front(judged: tuple[Judged, ...]) -> list[Candidate]:
    return [one.candidate for one in judged if one.on_frontier]


def _places(shown: list[Candidate]) -> tuple[list[float], list[float]]:
    return [one.latency_ratio for one in shown], [100 * one.loss for one in shown]
