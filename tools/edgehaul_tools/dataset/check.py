"""Check a dataset: everything that is wrong with it, or may be, in one report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgehaul.errors import DatasetError
from edgehaul_tools.dataset.faults import DatasetFaultsError
from edgehaul_tools.dataset.findings import CheckReport, Finding, by_severity
from edgehaul_tools.dataset.imbalance import unbalanced_classes
from edgehaul_tools.dataset.inspection import Inspection, inspect_pictures
from edgehaul_tools.dataset.label_findings import label_errors
from edgehaul_tools.dataset.leakage import divided_groups, repeated_pictures
from edgehaul_tools.dataset.manifest import has_manifest, verify_manifest
from edgehaul_tools.dataset.mark_checks import mended_marks, odd_marks
from edgehaul_tools.dataset.progress import Progress
from edgehaul_tools.dataset.read import checked_dataset, detect_form, read_dataset
from edgehaul_tools.dataset.trace_checks import (
    is_trace_dataset,
    read_recordings,
    trace_findings,
)


@dataclass(frozen=True)
class CheckOptions:
    """How thoroughly labels are looked at.

    Attributes:
        per_class: Most objects of a class that the judge of labels learns from.
        suspects: Most likely label errors to name; 0 does not look for them.
        seed: The same seed gives the same report.
    """

    per_class: int = 500
    suspects: int = 50
    seed: int = 0


def check_dataset(
    path: Path,
    form: str = "auto",
    options: CheckOptions = CheckOptions(),
    progress: Progress | None = None,
) -> CheckReport:
    """Check a dataset of pictures, trips or series.

    What makes a dataset unusable is a finding here, not an error.

    Args:
        path: The dataset.
        form: Its form.
        options: How thoroughly.
        progress: Told of each picture.

    Raises:
        UsageError: There is no such form.
        DatasetError: There is no dataset here at all.
    """
    started_s = time.monotonic()
    if form == "auto" and is_trace_dataset(path):
        report = _check_traces(path)
    else:
        report = _check_pictures(path, form, options, progress)
    taken_s = round(time.monotonic() - started_s, 2)
    return msgspec.structs.replace(report, duration_s=taken_s)


def _check_traces(path: Path) -> CheckReport:
    form = "series" if (path / "series").is_dir() else "trips"
    try:
        recordings = read_recordings(path)
    except DatasetFaultsError as error:
        report = _unreadable(path, form, error)
        told = by_severity([*report.findings, *_manifest(path)])
        return msgspec.structs.replace(report, findings=told)
    findings = [*_manifest(path), *trace_findings(path, recordings)]
    return CheckReport(
        path=str(path),
        form=form,
        items=len(recordings),
        objects=sum(len(one.spans) for one in recordings),
        findings=by_severity(findings),
        notes=(),
    )


def _check_pictures(
    path: Path, form: str, options: CheckOptions, progress: Progress | None
) -> CheckReport:
    told = detect_form(path) if form == "auto" and path.exists() else form
    unusable: list[Finding] = []
    notes: list[str] = []
    try:
        dataset = read_dataset(path, form)
    except DatasetFaultsError as error:
        if error.rest is None or not error.rest.samples:
            return _unreadable(path, told, error)
        dataset = checked_dataset(error.rest)
        unusable += _unusable(error)
        notes.append("The rest was checked without what is unusable; mend that, then check again.")
    inspection = inspect_pictures(dataset.samples, options.seed, progress)
    readable = dataset.subset(inspection.samples)
    findings = [
        *unusable,
        *_manifest(path),
        *_damaged(inspection),
        *mended_marks(dataset.faults),
        *odd_marks(readable),
        *repeated_pictures(inspection, readable),
        *divided_groups(inspection.samples),
        *(unbalanced_classes(readable) if dataset.labels else ()),
    ]
    suspects, of_labels = label_errors(
        readable, inspection, options.per_class, options.suspects, options.seed
    )
    return CheckReport(
        path=str(path),
        form=told,
        items=len(dataset),
        objects=inspection.objects,
        findings=by_severity([*findings, *suspects]),
        notes=(*notes, *of_labels),
    )


def _unreadable(path: Path, form: str, error: DatasetFaultsError) -> CheckReport:
    notes = ("Nothing else was checked: mend these first, then check again.",)
    findings = tuple(_unusable(error))
    return CheckReport(
        path=str(path), form=form, items=0, objects=0, findings=findings, notes=notes
    )


def _unusable(error: DatasetFaultsError) -> Iterator[Finding]:
    for line in error.faults:
        where, _, what = line.partition(": ")
        yield Finding(
            kind="unusable",
            severity="error",
            where=where,
            what=what or line,
            remedy="mend or remove the file and its marks",
        )


def _manifest(path: Path) -> Iterator[Finding]:
    if not (path.is_dir() and has_manifest(path)):
        return
    try:
        faults = verify_manifest(path)
    except DatasetError as error:
        yield Finding(
            kind="manifest",
            severity="error",
            where=error.where,
            what=error.message,
            remedy=error.remedy,
        )
        return
    told = (
        ("missing", "the manifest lists this file, and it is gone", faults.missing),
        ("altered", "this file is not the one that the manifest lists", faults.altered),
        ("extra", "the manifest does not list this file", faults.extra),
    )
    for kind, what, files in told:
        for file in files:
            yield Finding(
                kind=f"manifest_{kind}",
                severity="warning" if kind == "extra" else "error",
                where=str(path / file),
                what=what,
                remedy="bring it back, or make the dataset again with `edgehaul data import`",
            )


def _damaged(inspection: Inspection) -> Iterator[Finding]:
    for file in inspection.damaged:
        yield Finding(
            kind="damaged",
            severity="error",
            where=str(file),
            what="it cannot be decoded",
            remedy="replace it, or remove it and its marks",
        )
    for file, flaw in inspection.flawed:
        yield Finding(
            kind="damaged",
            severity="warning",
            where=str(file),
            what=f"it shows only a part of its picture: {flaw}",
            remedy="replace it, or remove it and its marks",
            files=(str(file),),
        )
