"""Recordings as drawings: a trip on a map with a scale, a series over time.

The way on a map is smoothed with all that is known afterwards; the fixes lie beside it as the
receiver gave them.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import EARTH_RADIUS_M
from edgehaul.values import Fix
from edgehaul_tools.dataset.series import Series
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace
from edgehaul_tools.evaluate.figures import COLORS, INK, new_figure, to_svg
from edgehaul_tools.evaluate.smooth_track import smooth_track

METRES_PER_DEGREE = EARTH_RADIUS_M * math.pi / 180
"""Length of one degree of latitude."""
_WIDTH, _HEIGHT, _MARGIN = 900.0, 480.0, 36.0
_TRUE, _REPORTED = COLORS[1], COLORS[3]
_RECEIVED, _WAY = f"var(--ink, {INK})", "var(--muted, #9ca3af)"
_DOT_PX = 1.6
_SCALE_SHARE = 0.22
_TEXT = f"font-size:13px;fill:var(--ink, {INK});font-family:system-ui,sans-serif"


def local_m(
    places: Sequence[tuple[float, float]], origin: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return east and north in metres of (latitude, longitude) pairs, from the origin's pair."""
    degrees = np.array(places, dtype=np.float64).reshape(-1, 2)
    shrink = math.cos(math.radians(origin[0]))
    # The shorter way round, across 180 degrees too.
    east_deg = (degrees[:, 1] - origin[1] + 180.0) % 360.0 - 180.0
    east = east_deg * METRES_PER_DEGREE * shrink
    return east, (degrees[:, 0] - origin[0]) * METRES_PER_DEGREE


@dataclass(frozen=True, eq=False)
class _View:
    """A trip on the drawing: pixels of each fix of its smoothed way."""

    time_s: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    metres_per_px: float
    origin: tuple[float, float]
    centre_m: tuple[float, float]

    def dots(self, fixes: Sequence[Fix]) -> str:
        """Return a path that is a dot for each fix on the drawing, but where dots would touch."""
        x, y = _pixels(_places(fixes), self.origin, self.centre_m, self.metres_per_px)
        with np.errstate(invalid="ignore"):  # a receiver may have said NaN
            shown = (x >= 0) & (x <= _WIDTH) & (y >= 0) & (y <= _HEIGHT)
        parts, last = [], (math.inf, math.inf)
        for place in zip(x[shown].tolist(), y[shown].tolist(), strict=True):
            if math.dist(place, last) >= _DOT_PX:
                parts.append(f"M{place[0]:.1f} {place[1]:.1f}h0")
                last = place
        return "".join(parts)

    def path(self, since_s: float, until_s: float) -> str:
        chosen = np.flatnonzero((self.time_s >= since_s) & (self.time_s <= until_s))
        if not len(chosen):  # the receiver was silent: where it was last heard
            chosen = np.array([int(np.abs(self.time_s - since_s).argmin())])
        points = [f"{self.x[i]:.1f} {self.y[i]:.1f}" for i in chosen]
        # A line of no length has round ends, so one point is seen, too.
        return "M" + " L".join(points if len(points) > 1 else points * 2)


def draw_track(
    trace: LabelledTrace, true: Sequence[AnomalySpan], reported: Sequence[AnomalySpan]
) -> str:
    """Draw a trip from above: fixes, the smoothed way, true events, reports, and a scale."""
    name = f"map of {html.escape(trace.name)}"
    opening = f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{name}">'
    track = smooth_track(trace.fixes)
    if not track:
        return f'{opening}<text x="{_MARGIN}" y="{_MARGIN}" style="{_TEXT}">no fix</text></svg>'
    view = _view(track)
    parts = [
        opening,
        _line(view.path(view.time_s[0], view.time_s[-1]), _WAY, 2.5, ""),
        _line(view.dots(trace.fixes), _RECEIVED, _DOT_PX, "as received", opacity=0.6),
    ]
    for span in true:
        path = view.path(span.started_at_s, span.ended_at_s)
        parts.append(_line(path, _TRUE, 13.0, f"true: {span.label}", opacity=0.55))
    for span in reported:
        path = view.path(span.started_at_s, span.ended_at_s)
        parts.append(_line(path, _REPORTED, 4.5, f"reported: {span.label}"))
    parts += [_circle(view, 0, "start"), _circle(view, -1, "end"), _scale(view), _legend()]
    return "".join([*parts, "</svg>"])


def draw_series(
    series: Series, true: Sequence[AnomalySpan], reported: Sequence[AnomalySpan]
) -> str:
    """Draw a series over time, each channel scaled to its range, with events and reports."""
    figure, axes = new_figure(9.4, 2.8)
    hours = (series.time_s - series.time_s[0]) / 3600
    for place, channel in enumerate(series.channels[: len(COLORS) - 2]):
        values = series.values[:, place]
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        color = (INK, COLORS[0], COLORS[2])[place]
        scaled = (values - low) / max(high - low, 1e-9)
        axes.plot(hours, scaled, color=color, linewidth=0.7, label=channel)
    start_s, least = float(series.time_s[0]), float(hours[-1]) / 400
    rows = ((true, 1.04, _TRUE, "true"), (reported, 1.13, _REPORTED, "reported"))
    for spans, height, color, name in rows:
        bars = [
            ((s.started_at_s - start_s) / 3600, max((s.ended_at_s - s.started_at_s) / 3600, least))
            for s in spans
        ]
        axes.broken_barh(bars, (height, 0.07), color=color, label=name)
    axes.set(xlabel="Hours", ylim=(-0.03, 1.22), yticks=[])
    axes.legend(frameon=False, ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.24))
    return to_svg(figure)


def _view(track: Sequence[Fix]) -> _View:
    origin = (track[0].latitude_deg, track[0].longitude_deg)
    east, north = local_m(_places(track), origin)
    wide, high = float(np.ptp(east)), float(np.ptp(north))
    scale = max(wide / (_WIDTH - 2 * _MARGIN), high / (_HEIGHT - 2 * _MARGIN), 1e-3)
    centre_m = (float(east.max() + east.min()) / 2, float(north.max() + north.min()) / 2)
    x, y = _pixels(_places(track), origin, centre_m, scale)
    return _View(np.array([f.captured_at_s for f in track]), x, y, scale, origin, centre_m)


def _places(fixes: Sequence[Fix]) -> list[tuple[float, float]]:
    return [(fix.latitude_deg, fix.longitude_deg) for fix in fixes]


def _pixels(
    places: Sequence[tuple[float, float]],
    origin: tuple[float, float],
    centre_m: tuple[float, float],
    metres_per_px: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    east, north = local_m(places, origin)
    x = _WIDTH / 2 + (east - centre_m[0]) / metres_per_px
    return x, _HEIGHT / 2 - (north - centre_m[1]) / metres_per_px


def _line(path: str, color: str, width: float, title: str, *, opacity: float = 1.0) -> str:
    tip = f"<title>{html.escape(title)}</title>" if title else ""
    return (
        f'<path d="{path}" style="fill:none;stroke:{color};stroke-width:{width};'
        f'stroke-linecap:round;stroke-linejoin:round;opacity:{opacity}">{tip}</path>'
    )


def _circle(view: _View, index: int, name: str) -> str:
    x, y = view.x[index], view.y[index]
    ring = f"fill:var(--paper, #fff);stroke:var(--ink, {INK});stroke-width:2"
    anchor = "end" if x > _WIDTH * 0.85 else "start"  # keep the word on the map
    shift = -10 if anchor == "end" else 10
    place = f'x="{x + shift:.1f}" y="{y - 8:.1f}"'
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="{ring}"/>'
        f'<text {place} style="{_TEXT};text-anchor:{anchor}">{name}</text>'
    )


def _scale(view: _View) -> str:
    length_m = _round_length(_SCALE_SHARE * _WIDTH * view.metres_per_px)
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"  # noqa: PLR2004 - km
    x, y, width = _MARGIN, _HEIGHT - 14, length_m / view.metres_per_px
    bar = f"M{x} {y - 6} V{y} H{x + width:.1f} V{y - 6}"
    stroke = f"fill:none;stroke:var(--ink, {INK});stroke-width:2"
    return (
        f'<path d="{bar}" style="{stroke}"/>'
        f'<text x="{x + width + 8:.1f}" y="{y}" style="{_TEXT}">{text}</text>'
    )


def _legend() -> str:
    rows = (
        ("as received", "h0 m7 0 h0 m7 0 h0", _RECEIVED, 2 * _DOT_PX),
        ("smoothed", "h22", _WAY, 2.5),
        ("true event", "h22", _TRUE, 11.0),
        ("reported", "h22", _REPORTED, 4.5),
    )
    parts = []
    for row, (name, shape, color, width) in enumerate(rows):
        x, y = _WIDTH - 510 + row * 130, _HEIGHT - 18
        parts.append(_line(f"M{x} {y} {shape}", color, width, ""))
        parts.append(f'<text x="{x + 32}" y="{y + 4}" style="{_TEXT}">{name}</text>')
    return "".join(parts)


def _round_length(length: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20 ... that is no longer."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length)
