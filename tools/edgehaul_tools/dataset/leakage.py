"""Pictures that are there twice, and what one part of a dataset tells about another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from edgehaul_tools.dataset.clusters import clusters, pairs_of_equals
from edgehaul_tools.dataset.findings import Finding, Severity
from edgehaul_tools.dataset.inspection import Inspection
from edgehaul_tools.dataset.perceptual_hash import similar_pairs
from edgehaul_tools.dataset.samples import DetectionDataset, Sample

_NAMED = 3


def repeated_pictures(inspection: Inspection, dataset: DetectionDataset) -> Iterator[Finding]:
    """Yield duplicates, near-duplicates, and what they leak or contradict each other in.

    Duplicates have the same pixels, whatever their files' form; near-duplicates look the same.
    """
    samples = inspection.samples
    same = pairs_of_equals(inspection.digests)
    for members in clusters(len(samples), same):
        if len(members) > 1:
            yield from _repeated(_chosen(samples, members), dataset, exact=True)
    near = np.concatenate([same, similar_pairs(inspection.looks)])
    for members in clusters(len(samples), near):
        if len({inspection.digests[index] for index in members}) > 1:
            yield from _repeated(_chosen(samples, members), dataset, exact=False)


def divided_groups(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Yield groups (cameras, vehicles, days) that are in more than one part."""
    parts: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        if sample.part:
            parts[sample.group].add(sample.part)
    for group, names in parts.items():
        if len(names) > 1:
            yield Finding(
                kind="leak_group",
                severity="warning",
                where=group,
                what=f"this group is in {_listed(sorted(names))}: figures on the one are better "
                "than on new cameras or days, as the other was learnt from",
                remedy="divide the dataset again with `edgehaul data split`",
            )


def _chosen(samples: Sequence[Sample], members: list[int]) -> list[Sample]:
    return [samples[index] for index in members]


def _repeated(alike: list[Sample], dataset: DetectionDataset, *, exact: bool) -> Iterator[Finding]:
    files = tuple(str(sample.path) for sample in alike[: 1 + _NAMED])
    how = "the same pixels" if exact else "the same scene"
    others = _listed([str(sample.path) for sample in alike[1:]])
    where = str(alike[0].path)
    parts = sorted({sample.part for sample in alike if sample.part})
    if len(parts) > 1:
        shown = _listed([f"{sample.path} ({sample.part})" for sample in alike[1:]])
        yield Finding(
            kind="leak" if exact else "leak_near",
            severity="error",
            where=f"{where} ({alike[0].part})",
            what=f"{how} is in {_listed(parts)}: {shown}",
            remedy="remove the copy, or divide the dataset again with `edgehaul data split`",
            files=files,
        )
    else:
        severity: Severity = "warning" if exact else "note"
        kind = "duplicate" if exact else "near_duplicate"
        yield Finding(
            kind=kind,
            severity=severity,
            where=where,
            what=f"{how} again in {others}",
            remedy="keep one of them",
            files=files,
        )
    if dataset.labels and len({_marks(sample, exact=exact) for sample in alike}) > 1:
        yield from _contradiction(files, others, dataset, exact=exact)


def _contradiction(
    files: tuple[str, ...], others: str, dataset: DetectionDataset, *, exact: bool
) -> Iterator[Finding]:
    if not exact and dataset.task == "detect":
        return  # what moves a little between two frames has other boxes
    yield Finding(
        kind="label_conflict",
        severity="error" if exact else "warning",
        where=files[0],
        what=f"{others} shows the same with other labels",
        remedy="decide which labels are right, and keep one of the pictures",
        files=files,
    )


def _marks(sample: Sample, *, exact: bool) -> tuple[object, ...]:
    if not exact:
        return tuple(sorted(mark.class_id for mark in sample.boxes))
    rounded = (
        (m.class_id, *(round(v) for v in (m.box.x1, m.box.y1, m.box.x2, m.box.y2)))
        for m in sample.boxes
    )
    return tuple(sorted(rounded))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown
