"""The table of a comparison, for the terminal and as a page."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import onnxruntime  # type: ignore[import-untyped]  # no stubs

from edgehaul_tools.bench.contest import OURS, Contest, Row
from edgehaul_tools.bench.zoo.zoo import DATA, ZOO
from edgehaul_tools.export.machine import machine

HEADING = (
    "tool",
    "time",
    "size",
    "drop",
    "agreement",
    "kernels",
    "quantize s",
    "note",
)
_LINE = "{:<38} {:>6} {:>6} {:>7} {:>9} {:>7} {:>10}  {}"
_NONE = "-"


def surroundings(contests: Iterable[Contest]) -> str:
    """Return the machine, its load and the versions, in one line."""
    versions = {"onnxruntime": onnxruntime.__version__}
    for contest in contests:
        versions |= contest.versions
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return f"{machine()}; load average {os.getloadavg()[0]:.1f}; {named}"


def lines_of(contest: Contest) -> list[str]:
    """Return a model's rows for the terminal."""
    fp32 = f"fp32 {contest.fp32_ms:.2f} ms, {contest.fp32_bytes / 1e6:.1f} MB"
    title = f"{contest.title}: {fp32}, {_metric(contest)} {contest.fp32_value:.3f}"
    return [title, _LINE.format(*HEADING), *(_LINE.format(*c) for c in _cells(contest))]


def page_of(contests: Sequence[Contest]) -> str:
    """Return the whole comparison as a document."""
    lines = [
        "# int8 by EdgeHaul and by others",
        "",
        "Written by `edgehaul bench compress --markdown docs/compress.md`. One input at a time on",
        "one thread; time is that of the form / fp32 in ONNX Runtime, medians of processor time,",
        "all forms in turns in one process. OpenVINO's engine is timed in its own environment",
        "beside ONNX Runtime's fp32 there (whole process, float32 forced). Drop is in points of",
        "accuracy (detectors: F1 at IoU 0.5); agreement is that with fp32 (equal classes, or F1).",
        "Kernels counts integer kernels of ONNX Runtime. Quantize is calibrating and writing one",
        "form; the search of EdgeHaul over all forms, with its measurements, is in brackets.",
        "**Bold**: the fastest in ONNX Runtime, and those within 3 % of it, of those that lose at",
        "most 0.5 points and agree with fp32 to 97 %.",
        "",
        "The data is synthetic, made of scikit-learn's digits and of waves; the networks learnt",
        "for a minute or two, enough for answers that can be lost:",
        "",
        *(f"- {kind}: {text}." for kind, text in DATA.items()),
        "",
        surroundings(contests) + ".",
        "",
        *_summary(contests),
    ]
    for contest in contests:
        lines += ["", *_section(contest)]
    return "\n".join(lines) + "\n"


def _section(contest: Contest) -> list[str]:
    fp32 = f"fp32: {contest.fp32_ms:.2f} ms, {contest.fp32_bytes / 1e6:.1f} MB"
    return [
        f"## {contest.title}",
        "",
        f"{fp32}, {_metric(contest)} {contest.fp32_value:.3f}; data: {contest.data}.",
        "",
        f"| {' | '.join(HEADING)} |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
        *(f"| {' | '.join(cells)} |" for cells in _cells(contest, bold="**")),
    ]


def _summary(contests: Sequence[Contest]) -> list[str]:
    lines = [
        "| model | EdgeHaul | best ORT peer | in OpenVINO | goal | OpenVINO goal |",
        "|---|--:|---|---|--:|--:|",
    ]
    for contest in contests:
        goal = ZOO[contest.model].goal
        cells = (
            contest.title,
            _number(next(row.ratio for row in contest.rows if row.tool == OURS)),
            _named(_fastest(r for r in contest.rows if r.tool != OURS and not r.engine)),
            _named(_fastest(row for row in contest.rows if row.engine)),
            _number(goal.ratio),
            _number(goal.engine_ratio),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _fastest(rows: Iterable[Row]) -> Row | None:
    return min((r for r in rows if r.holds), key=lambda row: row.ratio or 0.0, default=None)


def _named(row: Row | None) -> str:
    return _NONE if row is None else f"{_number(row.ratio)} ({row.tool})"


def _cells(contest: Contest, bold: str = "") -> list[tuple[str, ...]]:
    best = contest.best
    return [_row(row, (bold or "*") if row in best else "", bold) for row in contest.rows]


def _row(row: Row, mark: str, bold: str) -> tuple[str, ...]:
    search = f" ({row.search_s:.0f})" if row.search_s is not None else ""
    ratio = _number(row.ratio)
    return (
        row.tool,
        f"{mark}{ratio}{mark if bold else ''}",
        _number(row.size_ratio, 3),
        _NONE if row.drop is None else f"{100 * row.drop:.2f}",
        _NONE if row.agreement is None else f"{100 * row.agreement:.2f} %",
        _NONE if row.kernels is None else str(row.kernels),
        _number(row.quantize_s, 1) + search,
        row.note.replace("|", "/"),
    )


def _number(value: float | None, digits: int = 2) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _metric(contest: Contest) -> str:
    return "F1" if contest.data == "scene" else "accuracy"
