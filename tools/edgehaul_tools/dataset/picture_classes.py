"""Pictures that have a class as a whole, of a dataset whose marks are all of that kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgehaul_tools.dataset.faults import FaultBook
from edgehaul_tools.dataset.samples import Sample


def with_one_class(
    samples: Sequence[Sample], labels: Sequence[str], root: Path, faults: FaultBook
) -> list[Sample]:
    """Return the pictures that have one class.

    Those that nobody answered are left out: kept, they would be background, and one of them
    would make the answers of all others boxes as large as their pictures.

    Args:
        samples: Pictures whose marks are all as large as they are.
        labels: Names of the classes.
        root: The dataset, for the notes.
        faults: Told how many have none, and which have more than one.
    """
    kept = []
    for sample in samples:
        marks = tuple(dict.fromkeys(sample.boxes))
        if len(marks) > 1:
            names = " and ".join(labels[mark.class_id] for mark in marks)
            faults.fatal.append(f"{sample.path}: the picture has {len(marks)} classes: {names}")
        elif marks:
            kept.append(dataclasses.replace(sample, boxes=marks))
    if unanswered := sum(not sample.boxes for sample in samples):
        have = "picture has" if unanswered == 1 else "pictures have"
        faults.mended.append(f"{root}: {unanswered} {have} no class; left out")
    return kept
