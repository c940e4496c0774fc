"""``edgehaul tune``: search for better values of a recipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import msgspec

from edgehaul.config.loader import load
from edgehaul.config.recipe import Recipe
from edgehaul.errors import EdgeHaulError, UsageError
from edgehaul_tools.train.command import dataset_of, located
from edgehaul_tools.train.search_space import choices_of
from edgehaul_tools.train.tuning import Search, Trial, best_of, search, write_best

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("recipe", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="Folder of the study; goes on if there.")
@click.option("--dataset", type=_PATH, help="Dataset to learn from, in place of the recipe's.")
@click.option(
    "--vary",
    multiple=True,
    metavar="CHOICE",
    help="KEY=LOW..HIGH, KEY=LOW..HIGH:log or KEY=A,B,C; else learning rate, decay and batch.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=20, show_default=True, help="Trials in all."
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes here."
)
@click.option("--worker", type=click.IntRange(0), default=0, hidden=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def tune(  # noqa: PLR0913, PLR0917 - one for each option
    recipe: Path,
    out: Path,
    dataset: Path | None,
    vary: tuple[str, ...],
    trials: int,
    workers: int,
    worker: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    """Search for better values of RECIPE by training it again and again.

    Run it again to go on; run it on several machines with --out between them to go faster.
    The best values are written as OUT/best.yaml.
    """
    content = located(load(recipe, Recipe), recipe)
    source = dataset or dataset_of(content, recipe)
    choices, threads = choices_of(content, vary), _shared_threads(workers)
    plan = Search(content, source, choices, out, trials, seed, threads)
    others = [] if worker else [_started(number) for number in range(1, workers)]
    try:
        found = search(plan, worker, _quiet if as_json or worker else _told)
        for number, other in enumerate(others, start=1):
            if other.wait() != 0:
                raise EdgeHaulError(
                    f"worker {number} ended with code {other.returncode}",
                    where=out,
                    remedy="its own message, above, says why; run the same command to go on",
                )
    finally:
        for other in others:
            if other.poll() is None:
                other.terminate()
                other.wait()
    if not worker:
        _print(plan, search(plan) if others else found, as_json=as_json)


def _shared_threads(workers: int) -> int:
    """Divide the processor between the workers; 0 where one may take all of it."""
    return max(1, len(os.sched_getaffinity(0)) // workers) if workers > 1 else 0


def _started(number: int) -> subprocess.Popen[bytes]:
    """Start another worker with the same command line."""
    words = [sys.executable, "-m", "edgehaul_tools", *sys.argv[1:], "--worker", str(number)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command line


def _quiet(trial: Trial) -> None:
    del trial


def _told(trial: Trial) -> None:
    click.echo(_line(trial), err=True)


def _line(trial: Trial) -> str:
    figure = "" if trial.figure is None else f"{trial.measure} {trial.figure:.4f}"
    values = "  ".join(f"{key} {_short(value)}" for key, value in trial.values.items())
    return f"trial {trial.number:>3}  {trial.state:<8}  {figure:<16}  {values}".rstrip()


def _short(value: str | float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _print(plan: Search, trials: tuple[Trial, ...], *, as_json: bool) -> None:
    best = best_of(trials)
    path = write_best(plan, best) if best else None
    if as_json:
        shown = {"trials": trials, "best": best, "recipe": str(path) if path else None}
        click.echo(msgspec.json.encode(shown))
        return
    if best is None or path is None:
        raise _no_best(plan, trials)
    counts = [f"{sum(t.state == s for t in trials)} {s}" for s in ("complete", "pruned", "fail")]
    click.echo(f"trials  {', '.join(counts)}")
    click.echo(f"best    {_line(best)}")
    click.echo(f"next    edgehaul train {path} --out RUN")


def _no_best(plan: Search, trials: tuple[Trial, ...]) -> EdgeHaulError:
    """Return what to tell where no trial came to an end."""
    reasons = [trial.reason for trial in trials if trial.reason]
    if not reasons:  # they were killed
        return UsageError("no trial came to an end", where=plan.folder, remedy="raise --trials")
    return EdgeHaulError(
        f"no trial came to an end; the last one failed: {reasons[-1]}",
        where=plan.folder,
        remedy="mend that, and raise --trials or name another --out",
    )
