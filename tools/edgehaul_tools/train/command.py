"""``edgehaul train``: from a recipe to a run directory."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import EpochReport, Progress, no_progress
from edgehaul_tools.train.run_directory import TrainingRun


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The run directory.",
)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    help="Dataset to learn from, in place of the recipe's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def train(recipe: Path, out: Path, dataset: Path | None, *, as_json: bool) -> None:
    """Train a detector or a trace classifier by RECIPE (a YAML file)."""
    content = load(recipe, Recipe)
    chosen = dataset or _dataset_of(content, recipe)
    with _shown(as_json=as_json) as progress:
        run = follow_recipe(content, chosen, out, progress)
    _print(run, out, as_json=as_json)


def _dataset_of(recipe: Recipe, path: Path) -> Path:
    section = recipe.detector or recipe.sequence
    if section is None or not section.dataset:
        raise UsageError(
            "the recipe names no dataset", where=path, remedy="write 'dataset:' or give --dataset"
        )
    return path.parent / section.dataset


def _print(run: TrainingRun, out: Path, *, as_json: bool) -> None:
    if as_json:
        summary = {
            "run": str(out),
            "kind": run.kind,
            "labels": run.spec.output.labels,
            "metrics": run.metrics,
            "counts": run.counts,
            "parameters": run.parameters,
            "wall_s": run.wall_s,
        }
        click.echo(json.dumps(summary))
        return
    figures = ", ".join(f"{name} {value:.4f}" for name, value in run.metrics.items())
    learnt = f"{run.counts['train']} samples, {run.parameters} weights, {run.wall_s:.0f} s"
    click.echo(f"trained {run.kind} ({learnt}): {figures or 'no validation part'}")
    click.echo(f"next: edgehaul export {out} --out model.onnx")


@contextmanager
def _shown(*, as_json: bool) -> Iterator[Progress]:
    """Show a bar on a terminal, one line for each epoch elsewhere, nothing with ``--json``."""
    if as_json:
        yield no_progress
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield lambda report: click.echo(epoch_line(report), err=True)


def epoch_line(report: EpochReport) -> str:
    """Return one line that says how far a training is."""
    figure = "" if report.value is None else f"  {report.measure} {report.value:.4f}"
    place = f"epoch {report.epoch}/{report.epochs}"
    return f"{place}  loss {report.loss:.4f}{figure}  {report.elapsed_s:.0f} s"


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("training", total=None)

        def show(report: EpochReport) -> None:
            bar.update(
                task,
                total=report.epochs,
                completed=report.epoch,
                description=epoch_line(report),
            )

        yield show
