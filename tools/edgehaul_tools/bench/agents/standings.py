"""The table of agents, for the terminal and as a page."""

from __future__ import annotations

import os
from collections.abc import Sequence

from edgehaul_tools.bench.agents.rounds import Comparison, Standing
from edgehaul_tools.export.machine import machine

HEADING = (
    "agent",
    "CPU ms",
    "bare ms",
    "efficiency",
    "frames/s",
    "MiB",
    "first s",
    "counted",
    "note",
)
_LINE = "{:<26} {:>7} {:>8} {:>20} {:>9} {:>5} {:>8} {:>16}  {}"
_NONE = "-"


def surroundings(comparison: Comparison) -> str:
    """Return the machine, its load and the versions, in one line."""
    named = ", ".join(f"{name} {text}" for name, text in sorted(comparison.versions.items()))
    return (
        f"{machine()}; load average {os.getloadavg()[0]:.1f}; {comparison.rounds} rounds; "
        f"broker: {comparison.broker}; {named or 'no peers'}"
    )


def lines_of(comparison: Comparison) -> list[str]:
    """Return the table for the terminal."""
    rows = [_LINE.format(*_cells(row)).rstrip() for row in comparison.rows]
    return [_LINE.format(*HEADING).rstrip(), *rows]


def page_of(comparison: Comparison) -> str:
    """Return the comparison as a document."""
    lines = [
        "# Our agent and others",
        "",
        "Written by `edgehaul bench agent --markdown docs/agents.md`. One clip (1280x720, MPEG-4)",
        "and one detector (YOLO-like, 320x320) on one stream at full speed, each with tracking, a",
        "counting line and each frame's detections published to the same broker; only ours stores",
        "them durably first. All take turns, each a process of its own. CPU is the processor time",
        "of a frame, that of a long run less that of a short one; bare is that of decoding and",
        "the same engine alone, on one thread, and efficiency is bare / CPU. Frames a second are",
        "those of the long run from its first result on. First is the time from the start of the",
        "program to that; MiB is the most resident memory. Counted is crossings of the line,",
        "beside what truly crossed. Peers run the fp32 form, and the AGPL ones as programs in",
        "environments of their own.",
        "",
        surroundings(comparison) + ".",
        "",
        f"| {' | '.join(HEADING)} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
        *(f"| {' | '.join(_cells(row))} |" for row in comparison.rows),
    ]
    return "\n".join(lines) + "\n"


def _cells(row: Standing) -> Sequence[str]:
    return (
        row.name,
        _number(row.cpu_ms_per_frame, 2),
        _number(row.bare_ms_per_frame, 2),
        _efficiency(row),
        _number(row.fps, 1),
        _number(row.rss_peak_mib, 0),
        _number(row.first_result_s, 2),
        _counted(row),
        row.note.replace("|", "/"),
    )


def _efficiency(row: Standing) -> str:
    if row.efficiency is None:
        return _NONE
    return f"{row.efficiency:.3f} ({row.efficiency_least:.2f} to {row.efficiency_most:.2f})"


def _counted(row: Standing) -> str:
    if row.forward is None:
        return _NONE
    wrong = "" if row.is_right else ", wrong"
    back = f" and {row.backward} back" if row.backward else ""
    return f"{row.forward}{back} of {row.crossings}{wrong}"


def _number(value: float | None, digits: int) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"
