"""The figures of a model as tables of the report's page."""

from __future__ import annotations

from edgehaul_tools.evaluate import page
from edgehaul_tools.evaluate.bootstrap import short
from edgehaul_tools.evaluate.calibration import LEAST_TEMPERATURE, MOST_TEMPERATURE
from edgehaul_tools.evaluate.result import ModelResult

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


def figure_name(name: str) -> str:
    """Return a figure's name for people."""
    base, _, of = name.partition(":")
    called = _NAMES.get(base, base.replace("_", " "))
    return f"{called} of {of}" if of else called


def ordered_figures(model: ModelResult) -> list[str]:
    """Return the names of all figures, the main one first."""
    return [model.main, *(name for name in model.figures if name != model.main)]


def figure_table(result: ModelResult) -> str:
    """Return all figures with their intervals."""
    rows = [
        (figure_name(name), str(result.figures[name]))
        for name in ordered_figures(result)
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


def class_section(result: ModelResult) -> str:
    """Return the figures of each class; empty without classes."""
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


def threshold_section(result: ModelResult) -> str:
    """Return what other thresholds would do; empty where there are none."""
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


def temperature_section(result: ModelResult) -> str:
    """Return what a temperature would mend; empty where none was fitted."""
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


def slice_section(result: ModelResult) -> str:
    """Return the main figure on each part of the samples; empty without parts."""
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


def _number(value: float | None) -> str:
    return "-" if value is None else short(value)
