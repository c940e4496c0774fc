"""Trips and series as far as checks and splits are concerned: when, what happened, whose."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgehaul.values import Fix
from edgehaul_tools.dataset.series import Series, is_series_dataset, read_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan, LabelledTrace, read_truck_dataset


@dataclass(frozen=True, eq=False)
class Recording:
    """A trip or a series.

    Attributes:
        name: Its name.
        time_s: (T,) when something was measured.
        spans: What happened when, by time.
        digest: Hash of what was measured, without the times: a copy with shifted times is
            a copy. An empty one has its name instead.
        group: The vehicle; empty where it is not known.
        steps: What its steps are called.
        fixes: Where it was; none of a series.
    """

    name: str
    time_s: NDArray[np.float64]
    spans: tuple[AnomalySpan, ...]
    digest: str
    group: str = ""
    steps: Literal["fixes", "samples"] = "fixes"
    fixes: tuple[Fix, ...] = ()


def recording_of(trace: LabelledTrace | Series) -> Recording:
    """Return what checks and splits need of a trip or a series."""
    if isinstance(trace, Series):
        digest = _digest(trace.values) if len(trace.time_s) else trace.name
        return Recording(trace.name, trace.time_s, trace.spans, digest, trace.group, "samples")
    places = np.array([(fix.latitude_deg, fix.longitude_deg) for fix in trace.fixes])
    return Recording(
        trace.name,
        np.array([fix.captured_at_s for fix in trace.fixes]),
        trace.anomalies,
        _digest(places) if trace.fixes else trace.name,
        trace.group,
        fixes=trace.fixes,
    )


def read_traces(path: Path) -> tuple[LabelledTrace | Series, ...]:
    """Read the trips or series of a folder.

    Raises:
        DatasetError: A file is missing or wrong; all at once.
    """
    return read_series_dataset(path) if is_series_dataset(path) else read_truck_dataset(path)


def _digest(values: NDArray[np.generic]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()
