"""Labelled windows of all features of a dataset, summed up for statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.errors import DatasetError
from edgehaul.motion.clean import clean
from edgehaul.motion.features import FEATURES, features_of
from edgehaul.motion.resample import resample
from edgehaul_tools.dataset.series import Series, is_series_dataset, read_series_dataset
from edgehaul_tools.dataset.series import windows_of_series as cut_series
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace, read_truck_dataset

NORMAL = "normal"
"""Label of the windows outside all spans."""
SUMMARIES = ("mean", "deviation", "lowest", "highest")
"""What is kept of a feature in a window."""
_HOPS_PER_WINDOW = 4
_FEWEST_GROUPS = 3
_BLOCKS = 10
"""Parts that a recording is divided into where there are too few to hold some of them out."""


@dataclass(frozen=True, eq=False)
class FeatureWindows:
    """Windows of a dataset.

    Attributes:
        names: Names of the features (F).
        values: (n, F, 4) float64: mean, deviation, lowest and highest value in each window.
        labels: (n,) names of what happens at the windows' ends.
        groups: (n,) numbers of the recordings, or of their blocks.
        grouped_by: ``recording`` or ``block``: what is never torn apart.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]
    grouped_by: str

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> FeatureWindows:
        """Return these windows alone."""
        return FeatureWindows(
            self.names,
            self.values[chosen],
            self.labels[chosen],
            self.groups[chosen],
            self.grouped_by,
        )


def load_feature_windows(
    path: Path, window: int, interval_s: float, *, labelled_only: bool = False
) -> FeatureWindows:
    """Return the windows of a dataset of trips or series.

    A window has the label of the span that covers most of its second half, and at least half
    of that (or the whole span, where it is shorter). Windows with a shorter piece of a span
    are left out: neither answer would be wrong.

    Args:
        path: The dataset's folder.
        window: Steps in a window; a window starts every quarter of it.
        interval_s: Time between two steps.
        labelled_only: Leave out windows outside all spans instead of calling them normal.

    Raises:
        DatasetError: It cannot be read, is too short, or shows one class alone.
    """
    recordings = _recordings(path)
    names = recordings[0].channels if isinstance(recordings[0], Series) else tuple(FEATURES)
    blocks = 1 if len(recordings) >= _FEWEST_GROUPS else _BLOCKS
    values, labels, groups = [], [], []
    for number, recording in enumerate(recordings):
        spans = recording.spans if isinstance(recording, Series) else recording.anomalies
        cut = list(_windows(recording, window, interval_s))
        if not cut:
            continue
        began_s, length_s = cut[0][0], max(cut[-1][0] - cut[0][0], interval_s)
        for start_s, content in cut:
            label = _label(start_s, window, interval_s, spans)
            if label is None or (labelled_only and label == NORMAL):
                continue
            block = min(int((start_s - began_s) / length_s * blocks), blocks - 1)
            values.append(_summed_up(content))
            labels.append(label)
            groups.append(number * blocks + block)
    _check(path, labels, window, interval_s)
    return FeatureWindows(
        names,
        np.array(values),
        np.array(labels),
        np.array(groups, dtype=np.int64),
        "recording" if blocks == 1 else "block",
    )


def _recordings(path: Path) -> Sequence[LabelledTrace | Series]:
    if is_series_dataset(path):
        return read_series_dataset(path)
    return read_truck_dataset(path)


def _windows(
    recording: LabelledTrace | Series, window: int, interval_s: float
) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield the start of each window and its values (window, F)."""
    hop = max(1, window // _HOPS_PER_WINDOW)
    if isinstance(recording, Series):
        starts, windows = cut_series(recording, interval_s, window, hop)
        yield from zip(starts.tolist(), windows, strict=True)
        return
    for motion in resample(clean(recording.fixes)[0], interval_s):
        rows = features_of(motion, tuple(FEATURES))
        for first in range(0, len(rows) - window + 1, hop):
            yield float(motion.time_s[first]), rows[first : first + window]


def _label(
    start_s: float, window: int, interval_s: float, spans: Sequence[AnomalySpan]
) -> str | None:
    """Return a window's label; None where an event has just begun or ended."""
    end_s = start_s + (window - 1) * interval_s
    half_s = max((end_s - start_s) / 2, interval_s / 2)
    best, longest_s = NORMAL, 0.0
    for span in spans:
        covered_s = min(end_s, span.ended_at_s) - max(end_s - half_s, span.started_at_s)
        if covered_s > longest_s:
            best, longest_s = span.label, covered_s
            if covered_s < min(half_s / 2, span.ended_at_s - span.started_at_s):
                return None
    return best


def _summed_up(content: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return mean, deviation, lowest and highest value of each feature (F, 4)."""
    values = content.astype(np.float64)
    parts = (values.mean(axis=0), values.std(axis=0), values.min(axis=0), values.max(axis=0))
    return np.stack(parts, axis=1)


def _check(path: Path, labels: list[str], window: int, interval_s: float) -> None:
    found = sorted(set(labels))
    if not found:
        raise DatasetError(
            f"nothing in here is {window} steps of {interval_s:g} s long",
            where=path,
            remedy="choose a shorter window or interval",
        )
    if len(found) == 1:
        raise DatasetError(
            f"all windows show {found[0]!r}: there is nothing to tell apart",
            where=path,
            remedy="label the spans of events in labels.json, or choose a shorter window",
        )
