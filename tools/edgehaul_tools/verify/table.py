"""A verification as lines of text, no wider than 100 columns with names of usual length."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.evaluate.result import plural
from edgehaul_tools.evaluate.result_tables import figure_name
from edgehaul_tools.verify.agreement import METRIC
from edgehaul_tools.verify.gate import shown_loss
from edgehaul_tools.verify.measure import ClassDrop, Measured
from edgehaul_tools.verify.proof import VariantProof, Verification

WIDTH = 100
_GAP = "  "
_NONE = "-"
_HEADINGS = {"map50": "mAP50"}
_BESIDE = ("map50_95", "macro_f1", "rmse", "average_precision")
_WORST = 3
_WHOLE_MS = 100


def lines_of(proof: Verification) -> Iterator[str]:
    """Yield the table, then what each variant loses by class, warnings and how it was measured."""
    proofs = list(proof.models.values())
    base = proofs[0]
    yield from _aligned([_heading(base.measured), *(_row(one, base) for one in proofs)])
    for one in proofs[1:]:
        yield from _details(one, base)
    for one in proofs:
        yield from (f"warning: {one.name}: {line}" for line in one.warnings)
    yield from (f"note: {line}" for line in proof.notes)
    if proof.torch is not None:
        furthest = max(proof.torch.difference.values())
        yield f"torch and fp32 differ by {furthest:.1e} at most ({proof.torch.inputs} inputs)"
    yield _basis(base.measured, proof)


def _heading(measured: Measured) -> list[str]:
    metric = [] if measured.metric == METRIC else [_HEADINGS.get(measured.metric, measured.metric)]
    return ["", "agree", *metric, "drop (95 %)", "ms", "p10-p90", "time", "size", "RSS"]


def _row(one: VariantProof, base: VariantProof) -> list[str]:
    measured = one.measured
    metric = [] if measured.metric == METRIC else [_figure(measured.value)]
    low_ms, high_ms = one.latency_spread_ms
    peak = one.peak_rss_bytes
    return [
        one.name,
        f"{measured.agreement.f1:.3f}",
        *metric,
        _NONE if one is base else _loss(measured.metric, measured.drop),
        _ms(one.latency_ms),
        f"{_ms(low_ms)}-{_ms(high_ms)}",
        f"{one.latency_ms / base.latency_ms:.2f}",
        f"{one.size_bytes / base.size_bytes:.2f}",
        _NONE if peak is None else f"{peak / 1e6:+.0f} MB",
    ]


def _details(one: VariantProof, base: VariantProof) -> Iterator[str]:
    measured = one.measured
    said = [
        f"{figure_name(name)} {_figure(measured.figures[name])} "
        f"(fp32 {_figure(base.measured.figures[name])})"
        for name in _BESIDE
        if name in measured.figures and name != measured.metric
    ]
    worst = [drop for drop in measured.classes if drop.drop.value and drop.drop.value > 0]
    said += [_class_line(drop, measured.class_figure) for drop in worst[:_WORST]]
    if len(worst) > _WORST:
        said.append(f"{len(worst) - _WORST} more classes lose less")
    if said:
        text = f"{one.name}: {'; '.join(said)}"
        yield from textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _class_line(one: ClassDrop, figure: str) -> str:
    loss = _loss(figure, one.drop)
    return f"{one.label} {figure_name(figure)} {_figure(one.fp32)} to {_figure(one.value)}, {loss}"


def _loss(metric: str, drop: Estimate) -> str:
    if drop.value is None:
        return "undefined"
    shown = shown_loss(metric, drop.value)
    if drop.low is None or drop.high is None:
        return shown
    return f"{shown} ({shown_loss(metric, drop.low)} to {shown_loss(metric, drop.high)})"


def _basis(measured: Measured, proof: Verification) -> str:
    units = ""
    if measured.units != measured.samples:
        of = plural(measured.unit) if measured.units > 1 else measured.unit
        units = f" in {measured.units} {of}"
    runtime = f"ONNX Runtime {proof.runtime}, 1 thread"
    return f"{measured.samples} samples{units}, {measured.agreement.inputs} inputs, {runtime}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= _WHOLE_MS else f"{value:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows with the first column at the left and the others at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]
        yield _GAP.join(cells).rstrip()
