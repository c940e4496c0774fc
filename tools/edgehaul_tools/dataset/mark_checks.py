"""Marks that are wrong by themselves: outside, empty, tiny, or made twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from edgehaul_tools.dataset.csv_table import NOT_READ
from edgehaul_tools.dataset.findings import Finding, Severity
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_TINY_PX = 3.0
_TWICE_IOU = 0.9
_KINDS: dict[str, tuple[str, Severity, str]] = {
    "dropped": ("box_dropped", "error", "correct the mark; nothing is learnt from it now"),
    "cut": ("box_cut", "warning", "correct the mark, or leave it as it was cut"),
    "left out": ("no_class", "warning", "give each a class, or leave them out"),
}
"""What a line of the reader ends with: the kind of finding, its severity, what to do."""
_OTHER: tuple[str, Severity, str] = ("passed_over", "warning", "mend it, or remove it")


def mended_marks(faults: Sequence[str]) -> Iterator[Finding]:
    """Yield what the reader had to mend: boxes outside of their picture or without area."""
    for line in faults:
        file, _, why = line.partition(NOT_READ)
        if why:
            yield Finding(
                kind="not_read",
                severity="warning",
                where=file,
                what=f"it was not read: {why}",
                remedy="mend it if it holds marks, or move it elsewhere",
            )
            continue
        where, _, what = line.rpartition(": ")
        kind, severity, remedy = _KINDS.get(line.rpartition("; ")[2], _OTHER)
        yield Finding(kind=kind, severity=severity, where=where, what=what, remedy=remedy)


def odd_marks(dataset: DetectionDataset) -> Iterator[Finding]:
    """Yield tiny boxes, and objects that are marked twice."""
    if dataset.task == "classify":
        return
    for sample in dataset.samples:
        yield from _tiny(sample, dataset.labels)
        yield from _twice(sample, dataset.labels)


def _tiny(sample: Sample, labels: Sequence[str]) -> Iterator[Finding]:
    for mark in sample.boxes:
        if min(mark.box.width, mark.box.height) < _TINY_PX:
            yield Finding(
                kind="box_tiny",
                severity="warning",
                where=str(sample.path),
                what=f"{labels[mark.class_id]} at {mark.box.x1:.0f},{mark.box.y1:.0f} is "
                f"{mark.box.width:.1f} x {mark.box.height:.1f} px",
                remedy="remove it if the mouse slipped",
                files=(str(sample.path),),
                box=msgspec.structs.astuple(mark.box),
            )


def _twice(sample: Sample, labels: Sequence[str]) -> Iterator[Finding]:
    ordered = sorted(sample.boxes, key=lambda mark: mark.box.x1)
    for place, a in enumerate(ordered):
        for b in ordered[place + 1 :]:
            if b.box.x1 >= a.box.x2:
                break  # all that follow begin further to the right
            if a.box.iou(b.box) < _TWICE_IOU:
                continue
            names = f"{labels[a.class_id]} and {labels[b.class_id]}"
            same = a.class_id == b.class_id
            yield Finding(
                kind="marked_twice" if same else "two_labels",
                severity="warning" if same else "error",
                where=str(sample.path),
                what=f"{names} are marked at the same place, {a.box.x1:.0f},{a.box.y1:.0f}",
                remedy="remove one of the two",
                files=(str(sample.path),),
                box=msgspec.structs.astuple(a.box),
            )
