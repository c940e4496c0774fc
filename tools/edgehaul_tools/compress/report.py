"""The page of a search: what was tried, what came of it, and why."""

from __future__ import annotations

import html
from pathlib import Path

from edgehaul_tools.compress.candidate import Candidate, shown
from edgehaul_tools.compress.charts import frontier_chart, sensitivity_chart
from edgehaul_tools.compress.result import PAGE_NAME, Compression, Judged
from edgehaul_tools.evaluate.bootstrap import short
from edgehaul_tools.evaluate.page import figures, page, section, table, tile, warnings
from edgehaul_tools.quantize.family import ROUTES
from edgehaul_tools.quantize.target import TARGETS
from edgehaul_tools.verify.agreement import METRIC

COLUMNS = ("form", "metric", "lost", "agreement", "time", "size", "int8 kernels", "verdict")


def write_page(result: Compression, out: Path) -> Path:
    """Write the page of a search into its model directory and return its path."""
    path = out / PAGE_NAME
    path.write_text(page(f"{result.model}: compression", _body(result)), encoding="utf-8")
    return path


def rows_of(result: Compression) -> list[tuple[str, ...]]:
    """Return a row of text for each candidate, for the page and the terminal."""
    return [_row(one) for one in result.judged]


def _body(result: Compression) -> list[str]:
    where = f"Measured on {result.machine}, ONNX Runtime {result.runtime}, one thread."
    targets = "; ".join(f"{name}: {TARGETS[name].why}" for name in result.targets)
    charts = [frontier_chart(result)]
    if result.sensitivity:
        charts.append(sensitivity_chart(result))
    return [
        f"<h1>{html.escape(result.model)}</h1>",
        _tiles(result),
        warnings(result.warnings),
        section("Verdict", f"{result.verdict}. {where}"),
        section("What was tried", _wanted(result), table(COLUMNS, rows_of(result))),
        section(
            "Why",
            f"The network is of the family {result.family}: {ROUTES[result.family].why}. "
            f"Targets: {targets}.",
            figures(charts),
        ),
    ]


def _tiles(result: Compression) -> str:
    best = result.best_here
    parts = []
    if best is not None:
        fast = f"{1 / best.latency_ratio:.2f} x"
        parts.append(tile(fast, "as fast as fp32", best.summary, good=True))
    elif result.wanted.timed:
        parts.append(tile("fp32", f"is kept on {result.here}", good=False))
    best = best or next(iter(result.chosen), None)
    if best is not None:
        parts += [
            tile(f"{best.size_ratio:.2f}", "of its size", f"{best.size_mb:.1f} MB"),
            tile(best.loss_shown, f"of {best.metric} lost", _interval(best)),
            tile(f"{best.agreement:.3f}", "agreement with fp32"),
        ]
    return f'<div class="tiles">{"".join(parts)}</div>'


def _wanted(result: Compression) -> str:
    wanted = result.wanted
    until = "" if result.finished else " The time was over before the search was."
    if result.metric == METRIC:
        needed = f"agreement with fp32 at least {wanted.min_agreement:g}"
    else:
        needed = f"at most {shown(result.metric, wanted.max_drop)} of {result.metric} lost"
    sure = " (as the end of its 95 % interval)" if wanted.sure else ""
    speed = ""
    if wanted.timed:
        faster = f"{wanted.min_speedup:g} times as fast as" if wanted.min_speedup > 1 else "faster"
        speed = f", and {faster}{' fp32' if wanted.min_speedup > 1 else ' than fp32'}"
    return (
        f"Wanted: {needed}{sure}{speed}. Every form was measured on the same samples as fp32; in "
        f"brackets the paired 95 % interval. * nothing else is better in all respects.{until}"
    )


def _row(one: Judged) -> tuple[str, ...]:
    what = one.candidate
    kernels = "-" if what.fusion is None else str(what.fusion.integer)
    mark = " *" if one.on_frontier else ""
    return (
        what.summary + mark,
        "undefined" if what.value is None else short(what.value),
        _interval(what),
        f"{what.agreement:.3f}",
        f"{what.latency_ratio:.2f}",
        f"{what.size_ratio:.2f}",
        kernels,
        "; ".join((one.why, *(what.fusion.failures if what.fusion else ()))),
    )


def _interval(one: Candidate) -> str:
    drop = one.drop
    value = shown(one.metric, drop.value)
    if drop.low is None or drop.high is None:
        return value
    return f"{value} ({100 * drop.low:.2f} to {100 * drop.high:.2f})"
