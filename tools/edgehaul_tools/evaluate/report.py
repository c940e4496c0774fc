"""The report of an evaluation: ``report.html`` for people, ``report.json`` for programs."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehaul_tools.evaluate import page
from edgehaul_tools.evaluate.bootstrap import Estimate
from edgehaul_tools.evaluate.charts import charts_of, joint_charts
from edgehaul_tools.evaluate.evaluate import Measured
from edgehaul_tools.evaluate.examined import Examined, Exhibit
from edgehaul_tools.evaluate.figures import image_source
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.evaluate.result import Evaluation, ModelResult, plural
from edgehaul_tools.evaluate.result_tables import (
    class_section,
    figure_name,
    figure_table,
    ordered_figures,
    slice_section,
    temperature_section,
    threshold_section,
)
from edgehaul_tools.train.durable import write_whole

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
_EXHIBITS = 6
_MOST_TILES = 5


def write_report(measured: Measured, folder: Path) -> None:
    """Write ``report.json`` and ``report.html``; each is there whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(measured.evaluation), indent=2)
    write_whole(folder / REPORT_JSON, text + b"\n")
    write_whole(folder / REPORT_HTML, render(measured).encode())


def render(measured: Measured) -> str:
    """Return the report as one HTML page."""
    evaluation = measured.evaluation
    body = [_head(evaluation), page.warnings(evaluation.warnings), _tiles(evaluation)]
    if len(evaluation.models) > 1:
        body.append(_beside(measured))
    body.append(_comparisons(evaluation))
    for examined, result in zip(measured.examined, evaluation.models, strict=True):
        body.append(_model(examined, result, several=len(evaluation.models) > 1))
    return page.page(f"Evaluation on {Path(evaluation.data).name}", body)


def _head(evaluation: Evaluation) -> str:
    models = ", ".join(model.name for model in evaluation.models)
    part = "all of it" if evaluation.part == "all" else f"the {evaluation.part} part"
    text = (
        f"{models} on {evaluation.data} ({part}): {evaluation.samples:,} samples. "
        f"In brackets: 95 % intervals of {evaluation.resamples:,} resamples of "
        f"{evaluation.units:,} {plural(evaluation.unit)} (seed {evaluation.seed})."
    )
    return f"<h1>Evaluation</h1>\n<p>{html.escape(text)}</p>"


def _tiles(evaluation: Evaluation) -> str:
    if len(evaluation.models) > 1:
        models = evaluation.models[:_MOST_TILES]
        tiles = [_tile(m.figures[m.main], f"{m.name}: {figure_name(m.main)}") for m in models]
    else:
        (model,) = evaluation.models
        shown = [n for n in ordered_figures(model) if ":" not in n][:_MOST_TILES]
        tiles = [_tile(model.figures[name], figure_name(name)) for name in shown]
        if model.events is not None:
            events = model.events
            text = "events found"
            note = f"{events.false_alarms} false alarms in {events.hours:.1f} h"
            tiles.append(page.tile(f"{events.found} of {events.true}", text, note))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _tile(value: Estimate, text: str) -> str:
    figure, _, interval = str(value).partition(" ")
    return page.tile(figure, text, interval)


def _beside(measured: Measured) -> str:
    models = measured.evaluation.models
    names = [n for n in ordered_figures(models[0]) if ":" not in n]
    rows = [
        (figure_name(name), *(str(m.figures.get(name, Estimate(None))) for m in models))
        for name in names
    ]
    columns = ("Figure", *(model.name for model in models))
    charts = page.figures(joint_charts(measured.examined))
    return page.section("The models beside each other", "", page.table(columns, rows), charts)


def _comparisons(evaluation: Evaluation) -> str:
    if not evaluation.comparisons:
        return ""
    rows = []
    for one in evaluation.comparisons:
        difference = one.difference
        mcnemar = "" if one.mcnemar_p is None else f"{one.mcnemar_p:.3f}"
        pair = f"{one.first} - {one.second}"
        rows.append((pair, str(difference), f"{one.p:.3f}", mcnemar, one.verdict))
    text = (
        f"Difference of {figure_name(evaluation.comparisons[0].figure)} on the same resamples, "
        "paired; p of the bootstrap, corrected for the number of pairs (Holm)."
    )
    columns = ("Pair", "Difference", "p", "McNemar p", "Verdict")
    return page.section("Which is better?", text, page.table(columns, rows))


def _model(examined: Examined, result: ModelResult, *, several: bool) -> str:
    title = result.name if several else "In detail"
    charts = charts_of(examined, result) + ([] if several else joint_charts([examined]))
    return "\n".join(
        (
            page.section(
                title,
                f"{result.path}, SHA-256 {result.sha256[:12]}",
                page.warnings(result.warnings),
                page.figures(charts),
                figure_table(result) if not several else "",
            ),
            class_section(result),
            threshold_section(result),
            temperature_section(result),
            slice_section(result),
            _gallery(examined),
        )
    )


def _gallery(examined: Examined) -> str:
    shown = examined.exhibits(_EXHIBITS)
    if not shown:
        return ""
    parts = []
    for kind, members in itertools.groupby(shown, key=lambda exhibit: exhibit.kind):
        parts.append(f"<h3>{html.escape(kind)}</h3>{_exhibits(list(members))}")
    text = (
        "White boxes are the truth, coloured ones what was found; red frames the mistake."
        if examined.candidate.spec.task == "detect"
        else ""
    )
    anomalies = isinstance(examined.scores, AnomalyScores)
    title = "What stands out" if anomalies else "Worst mistakes"
    return page.section(title, text, *parts)


def _exhibits(members: Sequence[Exhibit]) -> str:
    cells = []
    for member in members:
        media = member.svg
        if member.image is not None:
            alt = html.escape(member.caption)
            media = f'<img alt="{alt}" loading="lazy" src="{image_source(member.image)}">'
        cells.append(page.figure(media, member.caption))
    wide = bool(members[0].svg)
    return "".join(cells) if wide else f'<div class="gallery">{"".join(cells)}</div>'
