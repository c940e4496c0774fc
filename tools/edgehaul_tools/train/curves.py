"""``curves.png``: how the loss, the rate and the figures of a training went."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from edgehaul_tools.train.durable import write_whole
from edgehaul_tools.train.run_directory import EpochRecord

CURVES_FILE = "curves.png"
_MOST_FIGURES = 8
"""More lines than that nobody can tell apart."""


def write_curves(folder: Path, history: Sequence[EpochRecord]) -> None:
    """Draw the loss beside the figures on the validation part, epoch by epoch."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_loss(left, history)
    _draw_figures(right, history)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100)
    write_whole(folder / CURVES_FILE, stream.getvalue())


def _draw_loss(axes: Axes, history: Sequence[EpochRecord]) -> None:
    epochs = [at.epoch for at in history]
    axes.plot(epochs, [at.loss for at in history], marker=_marker(history), color="tab:blue")
    axes.set(xlabel="epoch", ylabel="mean loss of the training part")
    rates = axes.twinx()
    rates.plot(epochs, [at.learning_rate for at in history], color="tab:gray", linestyle=":")
    rates.set(ylabel="learning rate (dotted)", ylim=(0, None))
    axes.grid(alpha=0.3)


def _draw_figures(axes: Axes, history: Sequence[EpochRecord]) -> None:
    names = list(dict.fromkeys(name for at in history for name in at.figures))[:_MOST_FIGURES]
    for name in names:
        taken = [(at.epoch, at.figures[name]) for at in history if name in at.figures]
        axes.plot(*zip(*taken, strict=True), marker=_marker(taken), label=name)
    axes.set(xlabel="epoch", title="validation part" if names else "no validation part")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(fontsize="small")


def _marker(points: Sequence[object]) -> str:
    """Return a marker where a line alone would hardly be seen."""
    return "o" if len(points) < 10 else ""  # noqa: PLR2004 - as many as can be told apart
