"""What is wrong with labelled trips or series."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgehaul.clock import format_utc
from edgehaul_tools.dataset.findings import Finding, Severity
from edgehaul_tools.dataset.series import is_series_dataset, read_series_dataset
from edgehaul_tools.dataset.traces import AnomalySpan, read_labels, read_truck_dataset

_FEWEST_STEPS = 10
_OUTAGE_S = 60.0
_RATIO = 10.0


@dataclass(frozen=True, eq=False)
class Recording:
    """A trip or a series, as far as the checks are concerned.

    Attributes:
        name: Its name.
        time_s: (T,) when something was measured.
        spans: What happened when, by time.
        digest: Hash of what was measured, without the times: a copy with shifted times is
            a copy.
    """

    name: str
    time_s: NDArray[np.float64]
    spans: tuple[AnomalySpan, ...]
    digest: str


def is_trace_dataset(path: Path) -> bool:
    """Return whether a folder holds labelled trips or series."""
    labelled = (path / "labels.json").is_file()
    return is_series_dataset(path) or (labelled and (path / "trips").is_dir())


def read_recordings(path: Path) -> tuple[Recording, ...]:
    """Read the trips or series of a folder.

    Raises:
        DatasetError: A file is missing or wrong; all at once.
    """
    if is_series_dataset(path):
        return tuple(
            Recording(one.name, one.time_s, one.spans, _digest(one.values))
            for one in read_series_dataset(path)
        )
    return tuple(
        Recording(
            trip.name,
            np.array([fix.captured_at_s for fix in trip.fixes]),
            trip.anomalies,
            _digest(np.array([(f.latitude_deg, f.longitude_deg) for f in trip.fixes])),
        )
        for trip in read_truck_dataset(path)
    )


def trace_findings(path: Path, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Yield what is wrong with labelled trips or series."""
    for one in recordings:
        yield from _times(one)
        yield from _spans(one)
    yield from _copies(recordings)
    yield from _unlisted(path, {one.name for one in recordings})
    yield from _labels(read_labels(path / "labels.json").labels, recordings)


def _times(one: Recording) -> Iterator[Finding]:
    if len(one.time_s) < _FEWEST_STEPS:
        yield _found(
            "trip_empty",
            "error",
            one.name,
            f"it has {len(one.time_s)} fixes",
            "remove it, or record it again",
        )
        return
    steps = np.diff(one.time_s)
    if repeated := int((steps == 0).sum()):
        yield _found(
            "time_repeated",
            "warning",
            one.name,
            f"{repeated} of {len(one.time_s)} fixes have the time of the one before",
            "cleaning drops them; look at the receiver",
        )
    usual = float(np.median(steps))
    longest = float(steps.max())
    if longest > max(_OUTAGE_S, 10 * usual):
        yield _found(
            "outage",
            "note",
            one.name,
            f"nothing for {longest:.0f} s; usual are {usual:.1f} s",
            "windows are not drawn across it",
        )


def _spans(one: Recording) -> Iterator[Finding]:
    for before, after in pairwise(one.spans):
        if after.started_at_s < before.ended_at_s:
            kind: Severity = "warning" if after.label == before.label else "error"
            yield _found(
                "spans_overlap",
                kind,
                one.name,
                f"{after.label} begins at {format_utc(after.started_at_s)}, before "
                f"{before.label} has ended",
                "correct their times in labels.json",
            )
    if not len(one.time_s):
        return
    begin_s, end_s = float(one.time_s[0]), float(one.time_s[-1])
    for span in one.spans:
        if span.ended_at_s < begin_s or span.started_at_s > end_s:
            yield _found(
                "span_outside",
                "error",
                one.name,
                f"{span.label} at {format_utc(span.started_at_s)} is outside of the recording",
                "correct its time in labels.json; look at the time zone",
            )
        elif span.ended_at_s == span.started_at_s:
            yield _found(
                "span_empty",
                "warning",
                one.name,
                f"{span.label} at {format_utc(span.started_at_s)} lasts no time",
                "write when it ended in labels.json",
            )


def _copies(recordings: Sequence[Recording]) -> Iterator[Finding]:
    first_of: dict[str, Recording] = {}
    for one in recordings:
        first = first_of.setdefault(one.digest, one)
        if first is one or not len(one.time_s):
            continue
        yield _found(
            "duplicate",
            "error",
            one.name,
            f"it is {first.name} once more: a test on the one is no test if the other "
            "was learnt from",
            "remove one of them",
        )
        if [s.label for s in first.spans] != [s.label for s in one.spans]:
            yield _found(
                "label_conflict",
                "error",
                one.name,
                f"it is labelled otherwise than {first.name}, which is the same",
                "decide which labels are right",
            )


def _unlisted(path: Path, listed: set[str]) -> Iterator[Finding]:
    folder = path / ("series" if is_series_dataset(path) else "trips")
    names = {file.stem for file in folder.iterdir() if file.suffix in {".csv", ".gpx"}}
    for name in sorted(names - listed):
        yield _found(
            "unlisted",
            "warning",
            name,
            "labels.json does not list this recording",
            "list it, with no spans if nothing happened",
        )


def _labels(labels: Sequence[str], recordings: Sequence[Recording]) -> Iterator[Finding]:
    counts = Counter(span.label for one in recordings for span in one.spans)
    for label in labels:
        if not counts[label]:
            yield _found(
                "class_empty",
                "error",
                label,
                "this label has no spans",
                "add some, or remove the label",
            )
    if not labels:
        yield _found(
            "unlabelled",
            "warning",
            "",
            "no labels are listed",
            "label what happened; only anomaly models can be trained now",
        )
    filled = {label: counts[label] for label in labels if counts[label]}
    if filled and max(filled.values()) > _RATIO * min(filled.values()):
        rare = min(filled, key=filled.__getitem__)
        yield _found(
            "imbalance",
            "warning",
            rare,
            f"{filled[rare]} spans, and {max(filled.values())} of the most frequent label",
            "set `loss: {balance: draw}` in the recipe, or record more",
        )


def _digest(values: NDArray[np.generic]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()


def _found(kind: str, severity: Severity, where: str, what: str, remedy: str) -> Finding:
    return Finding(kind=kind, severity=severity, where=where, what=what, remedy=remedy)
