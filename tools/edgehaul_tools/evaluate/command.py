"""``edgehaul evaluate``: how good models are, how sure that is, and which is better."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import msgspec

from edgehaul.errors import UsageError
from edgehaul_tools.evaluate.candidates import is_run, open_candidates
from edgehaul_tools.evaluate.evaluate import SLICES, Options, evaluate_models
from edgehaul_tools.evaluate.material import data_of_run
from edgehaul_tools.evaluate.report import REPORT_HTML, write_report
from edgehaul_tools.evaluate.result import Evaluation, ModelResult, plural
from edgehaul_tools.evaluate.result_tables import figure_name, ordered_figures

_PATH = click.Path(path_type=Path)
_PRINTED = 6


@click.command()
@click.argument("models", type=_PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--data", type=_PATH, help="Labelled dataset; without it the test.json of a run directory."
)
@click.option(
    "--part",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Part of --data. Default: test, where a run or the dataset says which that is; else all.",
)
@click.option(
    "--split-from", type=_PATH, help="Run directory whose split is meant; default: the first MODEL."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder of a report.")
@click.option("--compare", is_flag=True, help="Test which of the models is better, pair by pair.")
@click.option(
    "--slices",
    default=",".join(SLICES),
    show_default=True,
    help="Parts of the samples to look at, with commas.",
)
@click.option(
    "--bootstrap",
    type=click.IntRange(0, 100_000),
    default=1000,
    show_default=True,
    help="Resamples for the 95 % intervals; 0: none.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Same seed, same intervals.",
)
@click.option("--calibrate", is_flag=True, help="Fit a temperature to classifiers.")
@click.option("--normal", default="", help="Class of normal pictures, for anomaly models.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(  # noqa: PLR0913, PLR0917 - one for each option
    models: tuple[Path, ...],
    data: Path | None,
    part: str | None,
    split_from: Path | None,
    out: Path | None,
    slices: str,
    bootstrap: int,
    seed: int,
    normal: str,
    *,
    compare: bool,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Measure MODELs on labelled data that they did not learn from.

    A MODEL is an ONNX file, a model directory of `edgehaul quantize` (all its variants), or a
    run directory of `edgehaul train`.
    """
    runs = [path for path in (*models, *([split_from] if split_from else [])) if is_run(path)]
    chosen = data or data_of_run(runs)
    if chosen is None:
        raise UsageError("there is nothing to measure on", remedy="give --data DATASET")
    if compare and not bootstrap:
        raise UsageError("--compare needs resamples", remedy="give --bootstrap 1000")
    # A run's own test.json is the part already.
    whole = data is None
    options = Options(
        part="all" if whole else part or "",
        split_from=None if whole else split_from or next(iter(runs), None),
        compare=compare,
        slices=_kinds(slices),
        resamples=bootstrap,
        seed=seed,
        calibrate=calibrate,
        normal=normal,
    )
    with tempfile.TemporaryDirectory(prefix="edgehaul-evaluate-") as scratch:
        candidates = open_candidates(models, Path(scratch))
        measured = evaluate_models(
            candidates, chosen, options, lambda line: click.echo(line, err=True)
        )
        if out is not None:
            write_report(measured, out)
    if as_json:
        click.echo(msgspec.json.encode(measured.evaluation))
        return
    _print(measured.evaluation)
    if out is not None:
        click.echo(f"report: {out / REPORT_HTML}")


def _kinds(text: str) -> frozenset[str]:
    kinds = {kind.strip() for kind in text.split(",") if kind.strip()}
    unknown = sorted(kinds - set(SLICES))
    if unknown:
        raise UsageError(
            f"there is no slice {unknown[0]!r}", remedy=f"choose of {', '.join(SLICES)}"
        )
    return frozenset(kinds)


def _print(evaluation: Evaluation) -> None:
    part = "" if evaluation.part == "all" else f" ({evaluation.part} part)"
    click.echo(
        f"{evaluation.data}{part}: {evaluation.samples} samples; 95 % intervals of "
        f"{evaluation.resamples} resamples of {evaluation.units} {plural(evaluation.unit)}"
    )
    for line in evaluation.warnings:
        click.echo(f"warning: {line}")
    for model in evaluation.models:
        _print_model(model)
    for one in evaluation.comparisons:
        click.echo(f"{one.first} against {one.second}: {one.verdict}")


def _print_model(model: ModelResult) -> None:
    click.echo(model.name)
    names = [name for name in ordered_figures(model) if ":" not in name]
    for name in names[:_PRINTED]:
        click.echo(f"  {figure_name(name):22} {model.figures[name]}")
    if model.events is not None:
        events = model.events
        click.echo(
            f"  events                 {events.found} of {events.true} found, "
            f"{events.false_alarms} false alarms in {events.hours:.1f} h"
        )
    if model.calibration is not None and model.calibration.temperature is not None:
        fit = model.calibration.temperature
        click.echo(
            f"  temperature            {fit.value:.3f} "
            f"(ECE {fit.ece_before:.3f} to {fit.ece_after:.3f})"
        )
    for line in model.warnings:
        click.echo(f"  warning: {line}")
