"""How figures look, in every report: matplotlib to one SVG that follows the page's colours."""

from __future__ import annotations

import base64
import io
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

INK = "#1f2937"
MUTED = "#9ca3af"
COLORS = ("#2563eb", "#f59e0b", "#10b981", "#ef4444", "#8b5cf6")
_EDGE = "#d1d5db"
_GRID = "#eef0f3"
_PAGE_COLORS = {
    INK: f"var(--ink, {INK})",
    MUTED: f"var(--muted, {MUTED})",
    _EDGE: f"var(--line, {_EDGE})",
    _GRID: f"var(--grid, {_GRID})",
}
"""Colours that a dark page shows otherwise."""
_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": _EDGE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgehaul",
}
_DARK_SHARE = 0.55
_MANY_CELLS = 8


def new_figure(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return a figure of one plot in the reports' style."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        return figure, figure.add_subplot()


def add_legend(axes: Axes, title: str | None = None) -> None:
    """Put the legend above the plot, where it covers nothing."""
    # Not only as wide as the axes: their labels leave room to the left.
    axes.legend(
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(-0.14, 1.0),
        ncols=2,
        title=title,
        handlelength=1.6,
        columnspacing=1.2,
        fontsize=8,
        markerscale=0.5,
    )


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG; its ink and lines are those of the page where it defines them."""
    for label in figure.findobj(Text):
        if label.get_color() == "black":  # legends are made after the style was left
            label.set_color(INK)
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for color, variable in _PAGE_COLORS.items():
        text = text.replace(f": {color}", f": {variable}")
    return text


def image_source(image: NDArray[Any], quality: int = 85) -> str:
    """Return a picture (BGR) as the ``src`` of an HTML image, JPEG inside."""
    encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def draw_matrix(
    counts: NDArray[np.int64],
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    *,
    xlabel: str = "Found",
) -> str:
    """Draw how often what was true (rows) was found as what (columns)."""
    side = max(4.6, 0.42 * len(columns) + 1.6)
    figure, axes = new_figure(side, max(3.4, 0.34 * len(rows) + 1.2))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto", alpha=0.9)
    axes.grid(visible=False)
    many = len(columns) > _MANY_CELLS
    size = 7.0 if many else 9.0
    for row, column in np.ndindex(*counts.shape):
        if not counts[row, column] and many:
            continue
        dark = shares[row, column] > _DARK_SHARE  # white reads better from there on
        color = "white" if dark else "#1e293b"
        text = f"{counts[row, column]:,}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    axes.set_xticks(range(len(columns)), [wrapped(c) for c in columns])
    if many:
        axes.tick_params(axis="x", rotation=45)
    axes.set_yticks(range(len(rows)), [wrapped(r) for r in rows])
    axes.set(xlabel=xlabel, ylabel="True")
    return to_svg(figure)


def wrapped(label: str) -> str:
    """Return a label with its words below each other."""
    return label.replace("_", "\n").replace(" ", "\n")
