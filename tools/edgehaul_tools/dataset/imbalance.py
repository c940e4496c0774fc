"""Classes with too few samples, or none, in a dataset or in one of its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from edgehaul_tools.dataset.findings import Finding, Severity
from edgehaul_tools.dataset.samples import DetectionDataset

_FEW = 10
_RATIO = 10.0


def class_counts(dataset: DetectionDataset) -> dict[str, int]:
    """Return the number of marks of each class."""
    counts = Counter(mark.class_id for sample in dataset.samples for mark in sample.boxes)
    return {label: counts[number] for number, label in enumerate(dataset.labels)}


def unbalanced_classes(dataset: DetectionDataset) -> Iterator[Finding]:
    """Yield what the numbers of samples will do to a training."""
    counts = class_counts(dataset)
    filled = {label: count for label, count in counts.items() if count}
    if not filled:
        yield _found("unlabelled", "error", "no object is marked", "mark some, or import the marks")
        return
    for label in counts.keys() - filled.keys():
        yield _found(
            "class_empty",
            "error",
            "this class has no samples",
            "add some, or remove the class",
            label,
        )
    for label, count in filled.items():
        if count < _FEW:
            yield _found(
                "class_rare",
                "warning",
                f"this class has {count} samples",
                "add more, or make some with `edgehaul synthesize`",
                label,
            )
    if len(filled) == 1 and dataset.task == "classify":
        yield _found(
            "one_class",
            "error",
            "all samples are of this class: there is nothing to tell apart",
            "add samples of another class, or train `anomaly`",
            *filled,
        )
    yield from _skewed(filled, dataset)
    yield from _missing_in_parts(dataset, filled)


def _skewed(counts: dict[str, int], dataset: DetectionDataset) -> Iterator[Finding]:
    remedy = "add samples, or make some with `edgehaul synthesize`"
    if dataset.task == "classify":
        remedy = f"set `loss: {{balance: draw}}` in the recipe, or {remedy}"
    often, rarely = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    ratio = counts[often] / counts[rarely]
    if ratio > _RATIO:
        yield _found(
            "imbalance",
            "warning",
            f"{ratio:.0f} times fewer samples ({counts[rarely]}) than {often!r} ({counts[often]})",
            remedy,
            rarely,
        )


def _missing_in_parts(dataset: DetectionDataset, filled: dict[str, int]) -> Iterator[Finding]:
    for part in ("train", "val", "test"):
        own = [sample for sample in dataset.samples if sample.part == part]
        if not own:
            continue
        counts = class_counts(dataset.subset(own))
        for label in filled:
            if not counts[label]:
                yield _found(
                    "class_missing",
                    "error" if part == "train" else "warning",
                    f"this class has no samples in the part {part}",
                    "divide the dataset again with `edgehaul data split`",
                    label,
                )


def _found(kind: str, severity: Severity, what: str, remedy: str, where: str = "") -> Finding:
    return Finding(kind=kind, severity=severity, where=where, what=what, remedy=remedy)
