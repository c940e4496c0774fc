"""Which labels of a dataset are likely wrong, as findings of a check."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from edgehaul_tools.dataset.clusters import independent_groups
from edgehaul_tools.dataset.findings import Finding
from edgehaul_tools.dataset.inspection import Inspection
from edgehaul_tools.dataset.label_errors import LabelReview, Suspect, review_labels
from edgehaul_tools.dataset.samples import DetectionDataset


def label_errors(
    dataset: DetectionDataset, inspection: Inspection, per_class: int, suspects: int, seed: int
) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the likeliest label errors, and what to know of them.

    Args:
        dataset: With the pictures that can be decoded.
        inspection: Of these pictures.
        per_class: Most objects of a class that the judge of labels learns from.
        suspects: Most errors to name; 0 does not look for them.
        seed: The same seed gives the same findings.
    """
    if not suspects or not len(inspection.features):
        return [], ("Labels were not judged.",) if dataset.labels else ()
    group_of = np.zeros(len(dataset), dtype=np.int64)
    for number, members in enumerate(independent_groups(dataset.samples, inspection.looks)):
        group_of[members] = number
    samples = dataset.samples
    given = np.array(
        [
            samples[owner].boxes[mark].class_id
            for owner, mark in zip(inspection.owners, inspection.marks, strict=True)
        ]
    )
    review = review_labels(
        inspection.features,
        given,
        group_of[inspection.owners],
        per_class=per_class,
        seed=seed,
    )
    named = review.suspects[:suspects]
    findings = [_suspected(suspect, dataset, inspection) for suspect in named]
    return findings, tuple(_about(review, len(named), dataset, inspection))


def _suspected(suspect: Suspect, dataset: DetectionDataset, inspection: Inspection) -> Finding:
    sample = dataset.samples[int(inspection.owners[suspect.index])]
    box = sample.boxes[int(inspection.marks[suspect.index])].box
    at = "" if dataset.task == "classify" else f" at {box.x1:.0f},{box.y1:.0f}"
    return Finding(
        kind="label_error",
        severity="warning",
        where=str(sample.path),
        what=f"{dataset.labels[suspect.given]}{at} looks like {dataset.labels[suspect.suggested]} "
        f"(probability {suspect.suggested_probability:.2f}, of the given label "
        f"{suspect.given_probability:.2f})",
        remedy="look at it, and correct the label if it is wrong",
        files=(str(sample.path),),
        box=msgspec.structs.astuple(box),
    )


def _about(
    review: LabelReview, named: int, dataset: DetectionDataset, inspection: Inspection
) -> Iterator[str]:
    if review.judged:
        yield (
            f"Labels: {review.judged} of {inspection.objects} objects were judged by models that "
            f"learnt from {review.learnt_from} others at most; {100 * review.accuracy:.1f} % look "
            f"like their label. {named} of {len(review.suspects)} suspects are named."
        )
    if review.unjudged:
        names = ", ".join(dataset.labels[number] for number in review.unjudged)
        yield f"Labels of these classes were not judged, as they have too few samples: {names}."
