"""What is in a dataset, in figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.geometry import haversine_m
from edgehaul_tools.dataset.imbalance import class_counts
from edgehaul_tools.dataset.parts import PARTS
from edgehaul_tools.dataset.samples import DetectionDataset, TrueBox
from edgehaul_tools.dataset.series import read_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace, read_truck_dataset

_SMALL_PX, _LARGE_PX = 32.0, 96.0
"""Sides of squares that part small, medium and large objects, as COCO does."""
_SIZES_SHOWN = 5
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def picture_statistics(dataset: DetectionDataset, form: str) -> dict[str, object]:
    """Return figures on pictures and their marks, as JSON can hold them."""
    sizes = Counter(f"{sample.width}x{sample.height}" for sample in dataset.samples)
    counts = class_counts(dataset)
    filled = [count for count in counts.values() if count]
    return {
        "path": str(dataset.root),
        "form": form,
        "task": dataset.task if dataset.labels else "none",
        "images": len(dataset),
        "parts": _parts(dataset),
        "groups": len({sample.group for sample in dataset.samples}),
        "largest_group": max(Counter(sample.group for sample in dataset.samples).values()),
        "sizes": dict(sizes.most_common(_SIZES_SHOWN)),
        "objects": counts,
        "objects_by_part": _by_part(dataset),
        "imbalance_ratio": round(max(filled) / min(filled), 2) if filled else None,
        "object_sizes": _object_sizes(dataset) if dataset.task == "detect" else {},
        "per_image": _quantiles(np.array([len(s.boxes) for s in dataset.samples])),
        "ignored": sum(len(sample.ignored) for sample in dataset.samples),
        "without_objects": sum(not sample.boxes for sample in dataset.samples),
        "faults": list(dataset.faults),
    }


def trace_statistics(path: Path) -> dict[str, object]:
    """Return figures on trips, as JSON can hold them."""
    trips = read_truck_dataset(path)
    times = [np.array([fix.captured_at_s for fix in trip.fixes]) for trip in trips]
    return {
        "path": str(path),
        "form": "truck",
        "trips": len(trips),
        "vehicles": len({trip.group for trip in trips if trip.group}),
        "fixes": sum(len(trip.fixes) for trip in trips),
        **_durations(times),
        "km": round(sum(_length_m(trip) for trip in trips) / 1000, 2),
        "with_speed": round(_share_with_speed(trips), 3),
        "anomalies": _span_counts([trip.anomalies for trip in trips]),
        "events": _events([trip.anomalies for trip in trips]),
    }


def series_statistics(path: Path) -> dict[str, object]:
    """Return figures on series, as JSON can hold them."""
    series = read_series_dataset(path)
    missing = [float(np.isnan(one.values).mean()) for one in series if one.values.size]
    return {
        "path": str(path),
        "form": "series",
        "series": len(series),
        "samples": sum(len(one.time_s) for one in series),
        "channels": list(series[0].channels),
        **_durations([one.time_s for one in series]),
        "missing": round(float(np.mean(missing)), 4) if missing else 0.0,
        "anomalies": _span_counts([one.spans for one in series]),
        "events": _events([one.spans for one in series]),
    }


def _parts(dataset: DetectionDataset) -> dict[str, int]:
    counts = Counter(sample.part for sample in dataset.samples)
    named = {part: counts[part] for part in PARTS if counts[part]}
    return named | ({"undivided": counts[""]} if counts[""] else {})


def _by_part(dataset: DetectionDataset) -> dict[str, dict[str, int]]:
    return {
        part: class_counts(dataset.subset(s for s in dataset.samples if s.part == part))
        for part in PARTS
        if any(sample.part == part for sample in dataset.samples)
    }


def _object_sizes(dataset: DetectionDataset) -> dict[str, dict[str, object]]:
    marks: dict[int, list[TrueBox]] = {}
    for sample in dataset.samples:
        for mark in sample.boxes:
            marks.setdefault(mark.class_id, []).append(mark)
    return {dataset.labels[number]: _sizes(own) for number, own in sorted(marks.items())}


def _sizes(marks: Sequence[TrueBox]) -> dict[str, object]:
    sides = np.array([(mark.box.width, mark.box.height) for mark in marks])
    root = np.sqrt(sides.prod(axis=1))
    return {
        "width_px": _quantiles(sides[:, 0]),
        "height_px": _quantiles(sides[:, 1]),
        "small": int((root < _SMALL_PX).sum()),
        "medium": int(((root >= _SMALL_PX) & (root < _LARGE_PX)).sum()),
        "large": int((root >= _LARGE_PX).sum()),
    }


def _quantiles(values: NDArray[np.generic]) -> dict[str, float]:
    """Return the smallest, the first decile, the median, the last decile and the largest."""
    found = np.quantile(values.astype(np.float64), _QUANTILES)
    names = ("least", "p10", "median", "p90", "most")
    return {name: round(float(value), 1) for name, value in zip(names, found, strict=True)}


def _durations(times: Sequence[NDArray[np.float64]]) -> dict[str, object]:
    spans_s = np.array([float(own[-1] - own[0]) if len(own) else 0.0 for own in times])
    steps = [float(np.median(np.diff(own))) for own in times if len(own) > 1]
    interval_s = float(np.median(steps)) if steps else 0.0
    return {
        "hours": round(float(spans_s.sum()) / 3600, 2),
        "duration_s": _quantiles(spans_s),
        "interval_s": round(interval_s, 3),
        "rate_hz": round(1 / interval_s, 3) if interval_s else None,
    }


def _length_m(trip: LabelledTrace) -> float:
    return sum(
        haversine_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)
        for a, b in pairwise(trip.fixes)
    )


def _share_with_speed(trips: Sequence[LabelledTrace]) -> float:
    known = [fix.speed_mps is not None for trip in trips for fix in trip.fixes]
    return sum(known) / max(len(known), 1)


def _span_counts(spans: Sequence[Sequence[AnomalySpan]]) -> dict[str, int]:
    return dict(sorted(Counter(span.label for own in spans for span in own).items()))


def _events(spans: Sequence[Sequence[AnomalySpan]]) -> dict[str, dict[str, float]]:
    """Return, for each label, how many recordings have it and how long it lasts."""
    found: dict[str, dict[str, float]] = {}
    for label in _span_counts(spans):
        own = [s.ended_at_s - s.started_at_s for one in spans for s in one if s.label == label]
        found[label] = {
            "recordings": sum(any(s.label == label for s in one) for one in spans),
            "total_s": round(sum(own), 1),
            "median_s": round(float(np.median(own)), 1),
        }
    return found
