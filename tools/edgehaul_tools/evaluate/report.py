"""The report of an evaluation: ``report.html`` for people, ``report.json`` for programs."""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgehaul_tools.evaluate import page
from edgehaul_tools.evaluate.bootstrap import Estimate, short
from edgehaul_tools.evaluate.calibration import LEAST_TEMPERATURE, MOST_TEMPERATURE
from edgehaul_tools.evaluate.charts import charts_of, joint_charts
from edgehaul_tools.evaluate.evaluate import Measured
from edgehaul_tools.evaluate.examined import Examined, Exhibit
from edgehaul_tools.evaluate.figures import image_source
from edgehaul_tools.evaluate.ranking import AnomalyScores
from edgehaul_tools.evaluate.result import Evaluation, ModelResult, plural
from edgehaul_tools.train.durable import write_whole

REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
_EXHIBITS = 6
_MOST_TILES = 5
_NAMES = {
    "map50": "mAP50",
    "map50_95": "mAP50-95",
    "f1": "F1",
    "macro_f1": "macro F1",
    "event_f1": "F1 of the events",
    "auroc": "AUROC",
    "average_precision": "AP",
    "ap50": "AP50",
    "mae": "mean error",
    "rmse": "RMSE",
    "constant_velocity_mae": "mean error of driving straight on",
    "constant_velocity_rmse": "RMSE of driving straight on",
    "ece": "ECE",
}
_POINTS = {
    "model": "the model's own",
    "most_f1": "the most F1",
    "precision": "precision 0.95",
    "recall": "recall 0.95",
    "false_alarms": "false alarms 1 %",
}


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


def figure_name(name: str) -> str:
    """Return a figure's name for people."""
    base, _, of = name.partition(":")
    called = _NAMES.get(base, base.replace("_", " "))
    return f"{called} of {of}" if of else called


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
        shown = [n for n in _ordered(model) if ":" not in n][:_MOST_TILES]
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


def _ordered(model: ModelResult) -> list[str]:
    return [model.main, *(name for name in model.figures if name != model.main)]


def _beside(measured: Measured) -> str:
    models = measured.evaluation.models
    names = [n for n in _ordered(models[0]) if ":" not in n]
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
                _figures(result) if not several else "",
            ),
            _classes(result),
            _thresholds(result),
            _calibration(result),
            _slices(result),
            _gallery(examined),
        )
    )


def _figures(result: ModelResult) -> str:
    rows = [
        (figure_name(name), str(result.figures[name]))
        for name in _ordered(result)
        if not name.startswith("ap50:")
    ]
    if result.events is not None:
        events = result.events
        rows += [
            ("events found", f"{events.found} of {events.true}"),
            ("reports", f"{events.reported} ({events.false_alarms} false)"),
            ("false alarms per hour", short(events.false_alarms / max(events.hours, 1e-9))),
        ]
    return "<h3>All figures</h3>" + page.table(("Figure", "Value"), rows)


def _classes(result: ModelResult) -> str:
    if not result.classes:
        return ""
    names = list(result.classes[0].figures)
    rows = [
        (
            row.label,
            f"{row.samples:,}",
            *(_number(row.figures[name]) for name in names),
            *([str(result.figures[f"ap50:{row.label}"])] if "ap50" in names else []),
        )
        for row in result.classes
    ]
    columns = ["Class", "Samples", *(figure_name(n) for n in names)]
    if "ap50" in names:  # once, with its interval
        place = names.index("ap50") + 2
        rows = [(*row[:place], *row[place + 1 :]) for row in rows]
        columns = [*columns[:place], *columns[place + 1 :], "AP50"]
    return page.section("By class", "", page.table(columns, rows))


def _number(value: float | None) -> str:
    return "-" if value is None else short(value)


def _thresholds(result: ModelResult) -> str:
    if not result.thresholds:
        return ""
    rows = [
        (
            _POINTS.get(point.name, point.name),
            f"{point.threshold:.4g}",
            _number(point.precision),
            short(point.recall),
            short(point.f1),
            short(point.false_alarm_rate),
        )
        for point in result.thresholds
    ]
    alarms = "False per picture" if result.task == "detect" else "False alarm rate"
    columns = ("Threshold", "Score", "Precision", "Recall", "F1", alarms)
    text = (
        "What other thresholds would do on these samples. A threshold that is chosen here is to "
        "be judged on others."
    )
    return page.section("Thresholds", text, page.table(columns, rows))


def _calibration(result: ModelResult) -> str:
    calibration = result.calibration
    if calibration is None or calibration.temperature is None:
        return ""
    fit = calibration.temperature
    where = (
        "these very samples, so that the error after is too good"
        if fit.same_part
        else (f"{fit.samples:,} samples of the validation part")
    )
    rows = [
        ("calibration error (ECE)", short(fit.ece_before), short(fit.ece_after)),
        ("negative log-likelihood", short(fit.nll_before), short(fit.nll_after)),
    ]
    text = (
        f"Dividing the logits by {fit.value:.3f} makes the probabilities honest; it was fitted "
        f"on {where}. The answers stay the same."
    )
    if not LEAST_TEMPERATURE < fit.value < MOST_TEMPERATURE:
        text = (
            f"No temperature mends this: the best one, fitted on {where}, lies at the end of the "
            f"range {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}."
        )
    return page.section("Temperature", text, page.table(("", "Before", "After"), rows))


def _slices(result: ModelResult) -> str:
    if not result.slices:
        return ""
    rows = [
        (
            f"{part.kind}: {part.name}",
            f"{part.samples:,}",
            str(part.figure),
            "thin: too few to conclude" if part.thin else "",
        )
        for part in result.slices
    ]
    columns = ("Part", "Samples", figure_name(result.main), "")
    text = "The main figure where the samples have something in common."
    return page.section("Where it is weak", text, page.table(columns, rows))


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
