"""What is wrong with labelled trips or series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from edgehaul.clock import format_utc
from edgehaul.motion.clean import FixCleaner
from edgehaul_tools.dataset.findings import Finding, Severity
from edgehaul_tools.dataset.recordings import Recording, read_traces, recording_of
from edgehaul_tools.dataset.series import is_series_dataset
from edgehaul_tools.dataset.trace_leakage import divided_traces
from edgehaul_tools.dataset.traces import read_labels

_FEWEST_STEPS = 10
_OUTAGE_S = 60.0
_RATIO = 10.0
_DOUBTFUL = 0.01
_UNUSABLE = 0.2
"""From these shares of doubted fixes on, a trip is to be looked at, or says nothing."""


def is_trace_dataset(path: Path) -> bool:
    """Return whether a folder holds labelled trips or series."""
    labelled = (path / "labels.json").is_file()
    return is_series_dataset(path) or (labelled and (path / "trips").is_dir())


def read_recordings(path: Path) -> tuple[Recording, ...]:
    """Read the trips or series of a folder.

    Raises:
        DatasetError: A file is missing or wrong; all at once.
    """
    return tuple(recording_of(trace) for trace in read_traces(path))


def trace_findings(path: Path, recordings: Sequence[Recording]) -> Iterator[Finding]:
    """Yield what is wrong with labelled trips or series."""
    for one in recordings:
        yield from _times(one)
        yield from _doubts(one)
        yield from _spans(one)
    yield from _copies(recordings)
    yield from divided_traces(path, recordings)
    yield from _unlisted(path, {one.name for one in recordings})
    yield from _labels(read_labels(path / "labels.json").labels, recordings)


def _times(one: Recording) -> Iterator[Finding]:
    if len(one.time_s) < _FEWEST_STEPS:
        yield _found(
            "trip_empty",
            "error",
            one.name,
            f"it has {len(one.time_s)} {one.steps}",
            "remove it, or record it again",
        )
        return
    steps = np.diff(one.time_s)
    if repeated := int((steps == 0).sum()):
        yield _found(
            "time_repeated",
            "warning",
            one.name,
            f"{repeated} of {len(one.time_s)} {one.steps} have the time of the one before",
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


def _doubts(one: Recording) -> Iterator[Finding]:
    """Yield how many fixes, and how many speeds of the others, cleaning drops."""
    # Fixes with the time of the one before are told of by their times.
    later = [b for a, b in pairwise(one.fixes) if b.captured_at_s != a.captured_at_s]
    fixes = [*one.fixes[:1], *later]
    cleaner = FixCleaner()
    for fix in fixes:
        cleaner.push(fix)
    doubts = (
        ("fixes_doubted", cleaner.rejected, "fixes", " (jumps, inaccurate, no position)"),
        ("speeds_doubted", cleaner.speeds_dropped, "speeds", " (impossible accelerations)"),
    )
    for kind, count, what, why in doubts:
        if count > _DOUBTFUL * len(fixes):
            yield _found(
                kind,
                "error" if count > _UNUSABLE * len(fixes) else "warning",
                one.name,
                f"{count} of {len(fixes)} {what} are not believed{why}",
                "cleaning drops them; look at the receiver, and whether this is one vehicle",
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


def _found(kind: str, severity: Severity, where: str, what: str, remedy: str) -> Finding:
    return Finding(kind=kind, severity=severity, where=where, what=what, remedy=remedy)
