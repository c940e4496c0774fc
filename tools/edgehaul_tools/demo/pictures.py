"""Pictures of the report, each as one SVG or PNG that needs no other file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from edgehaul_tools.demo.result import CameraResult, Span, TruckResult, VariantResult
from edgehaul_tools.evaluate.figures import (
    COLORS,
    INK,
    MUTED,
    draw_matrix,
    new_figure,
    to_svg,
)
from edgehaul_tools.evaluate.track_drawing import local_m

_WIDE_SHARE = 0.35
"""From this part of the whole on, a bar holds its own name."""


def pr_curve(variants: Sequence[VariantResult]) -> str:
    """Draw precision against recall at IoU 0.5, one line for each variant."""
    figure, axes = new_figure(4.6, 3.4)
    for variant, color, style in zip(variants, COLORS, ("-", "--", ":", "-.", "-"), strict=False):
        recall, precision = variant.pr_curve
        label = f"{variant.name}  (mAP50 {variant.map50:.3f})"
        axes.plot(recall, precision, style, color=color, linewidth=2, label=label)
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.03))
    axes.legend(frameon=False, loc="lower left")
    return to_svg(figure)


def confusion_matrix(camera: CameraResult) -> str:
    """Draw how often each true class was found as which class."""
    return draw_matrix(
        np.array(camera.confusion, dtype=np.int64),
        (*camera.labels, "(nothing there)"),
        (*camera.labels, "(missed)"),
    )


def latency_histogram(latencies_ms: Sequence[float]) -> str:
    """Draw the distribution of the time from source to result."""
    values = np.array(latencies_ms)
    p50, p99 = np.percentile(values, [50, 99])
    figure, axes = new_figure(4.6, 3.0)
    bins = np.linspace(0, float(np.percentile(values, 99.8)) * 1.1, 60)
    axes.hist(np.minimum(values, bins[-1]), bins=bins.tolist(), color=COLORS[0], alpha=0.85)
    for value, name, color in ((p50, "p50", INK), (p99, "p99", COLORS[3])):
        label = f"{name} {value:.1f} ms"
        axes.axvline(value, color=color, linewidth=1.2, linestyle="--", label=label)
    axes.set(xlabel="Source to result, ms", ylabel="Frames")
    axes.legend(frameon=False)
    return to_svg(figure)


def stage_bars(stages: Sequence[tuple[str, float]]) -> str:
    """Draw when each stage ran."""
    figure, axes = new_figure(9.4, 0.32 * len(stages) + 0.6)
    start_s, total_s = 0.0, sum(duration_s for _, duration_s in stages)
    for row, (name, duration_s) in enumerate(stages):
        axes.barh(row, duration_s, left=start_s, color=COLORS[0], height=0.62)
        inside = duration_s > _WIDE_SHARE * total_s
        late = not inside and start_s + duration_s > 0.6 * total_s
        at_start = inside or late
        axes.annotate(
            f"{name}  {duration_s:.1f} s",
            (start_s if at_start else start_s + duration_s, row),
            xytext=(-5 if late else 5, 0),
            textcoords="offset points",
            va="center",
            ha="right" if late else "left",
            color="white" if inside else INK,
        )
        start_s += duration_s
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.set(xlabel="Seconds since the start")
    return to_svg(figure)


def truck_map(truck: TruckResult) -> str:
    """Draw the trip: the true route, the receiver's fixes by speed, and the anomalies."""
    figure, axes = new_figure(9.4, 5.0)
    east, north = _local_m(truck, [(f.latitude_deg, f.longitude_deg) for f in truck.true_fixes])
    axes.plot(east, north, color=MUTED, linewidth=5, alpha=0.35, label="true route", zorder=1)
    east, north = _local_m(truck, [(f.latitude_deg, f.longitude_deg) for f in truck.fixes])
    speeds_kmh = [(f.speed_mps or 0.0) * 3.6 for f in truck.fixes]
    dots = axes.scatter(east, north, c=speeds_kmh, s=5, cmap="viridis", zorder=2)
    figure.colorbar(dots, ax=axes, label="Speed, km/h", shrink=0.75, pad=0.01)
    _mark(axes, truck, truck.true_anomalies, "injected anomaly", marker="o", size=190, fill=False)
    _mark(axes, truck, truck.found, "reported by the agent", marker="X", size=52, fill=True)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="East, m", ylabel="North, m")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=3)
    return to_svg(figure)


def anomaly_timeline(truck: TruckResult) -> str:
    """Draw speed over time with injected and reported anomalies."""
    figure, axes = new_figure(9.4, 2.6)
    start_s = truck.fixes[0].captured_at_s
    minutes = [(f.captured_at_s - start_s) / 60 for f in truck.fixes]
    axes.plot(minutes, [(f.speed_mps or 0.0) * 3.6 for f in truck.fixes], color=INK, linewidth=0.9)
    top = axes.get_ylim()[1]
    for spans, low, color, name in (
        (truck.true_anomalies, 1.02, COLORS[1], "injected"),
        (truck.found, 1.12, COLORS[3], "reported"),
    ):
        for index, span in enumerate(spans):
            left, right = ((t - start_s) / 60 for t in (span.started_at_s, span.ended_at_s))
            label = name if index == 0 else None
            axes.broken_barh(
                [(left, max(right - left, 0.1))],
                (low * top, 0.08 * top),
                color=color,
                clip_on=False,
                label=label,
            )
    axes.set(xlabel="Minutes", ylabel="Speed, km/h")
    axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1.0, 1.28))
    return to_svg(figure)


def _mark(
    axes: Axes,
    truck: TruckResult,
    spans: Sequence[Span],
    label: str,
    *,
    marker: str,
    size: int,
    fill: bool,
) -> None:
    places = [_place_at(truck, (s.started_at_s + s.ended_at_s) / 2) for s in spans]
    if not places:
        return
    east, north = _local_m(truck, places)
    face = COLORS[3] if fill else "none"
    edge = "white" if fill else COLORS[1]
    width = 0.6 if fill else 2.2
    axes.scatter(
        east,
        north,
        s=size,
        marker=marker,
        facecolors=face,
        edgecolors=edge,
        linewidths=width,
        label=label,
        zorder=3,
    )


def _place_at(truck: TruckResult, time_s: float) -> tuple[float, float]:
    nearest = min(truck.true_fixes, key=lambda f: abs(f.captured_at_s - time_s))
    return nearest.latitude_deg, nearest.longitude_deg


def _local_m(
    truck: TruckResult, places: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    """Return east and north in metres of (latitude, longitude) pairs, from the trip's start."""
    origin = truck.true_fixes[0]
    east, north = local_m(places, (origin.latitude_deg, origin.longitude_deg))
    return east.tolist(), north.tolist()
