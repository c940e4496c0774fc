"""What a check of a dataset finds."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or may be.

    Attributes:
        kind: What sort of thing, such as ``leak`` or ``label_error``.
        severity: ``error`` spoils a training or its figures, ``warning`` is to be looked at.
        where: The file, the trip or the class.
        what: What is wrong.
        remedy: What to do.
        files: The pictures to look at.
        box: Where in the first of them, ``x1, y1, x2, y2`` in pixels.
    """

    kind: str
    severity: Severity
    where: str
    what: str
    remedy: str
    files: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a check.

    Attributes:
        path: The dataset.
        form: Its form.
        items: Number of pictures or trips.
        objects: Number of marks.
        findings: What was found; the worst first, of one kind the likeliest first.
        notes: What was not looked at, and how far to trust the rest.
        duration_s: How long it took.
    """

    path: str
    form: str
    items: int
    objects: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    duration_s: float = 0.0

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings by severity."""
        counted = Counter(finding.severity for finding in self.findings)
        return {severity: counted[severity] for severity in SEVERITIES}


def by_severity(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings, the worst first."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))
