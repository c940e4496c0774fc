"""Marks that are wrong by themselves: outside, empty, tiny, or made twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from edgehaul_tools.dataset.findings import Finding
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_TINY_PX = 3.0
_TWICE_IOU = 0.9


def mended_marks(faults: Sequence[str]) -> Iterator[Finding]:
    """Yield what the reader had to mend: boxes outside of their picture or without area."""
    for line in faults:
        where, _, what = line.rpartition(": ")
        dropped = line.endswith("dropped")
        yield Finding(
            kind="box_dropped" if dropped else "box_cut",
            severity="error" if dropped else "warning",
            where=where,
            what=what,
            remedy="correct the mark; nothing is learnt from it now"
            if dropped
            else "correct the mark, or leave it as it was cut",
        )


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
