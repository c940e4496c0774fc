"""``edgehaul train``: from a recipe to a run directory."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from edgehaul.config.loader import load
from edgehaul.config.override import overridden
from edgehaul.config.recipe import Recipe
from edgehaul.errors import UsageError
from edgehaul_tools.train.follow import follow_recipe
from edgehaul_tools.train.loop.optimization import no_progress
from edgehaul_tools.train.loop.processes import this_process
from edgehaul_tools.train.progress_display import on_tensorboard, shown
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
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A value in place of the recipe's, e.g. optimizer.epochs=5; may be repeated.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Published weights for a classifier to start from.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the unfinished training in --out; its learning rate may be another one.",
)
@click.option("--tensorboard", is_flag=True, help="Write OUT/tensorboard, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def train(  # noqa: PLR0913 - one for each option
    recipe: Path,
    out: Path,
    dataset: Path | None,
    settings: tuple[str, ...],
    weights: Path | None,
    *,
    resume: bool,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Train a model by RECIPE (a YAML file).

    Several processes train together when torchrun starts them:
    torchrun --nproc-per-node 2 -m edgehaul_tools train RECIPE --out OUT
    """
    content = located(_with_settings(load(recipe, Recipe), settings), recipe, weights)
    chosen = dataset or dataset_of(content, recipe)
    leads = this_process().leads
    with ExitStack() as stack:
        progress = stack.enter_context(shown(as_json=as_json)) if leads else no_progress
        if tensorboard and leads:
            progress = stack.enter_context(on_tensorboard(out / "tensorboard", progress))
        run = follow_recipe(content, chosen, out, progress, resume=resume)
    if leads:
        _print(run, out, as_json=as_json)


def _with_settings(recipe: Recipe, settings: tuple[str, ...]) -> Recipe:
    """Return the recipe with ``--set``'s values; keys may begin with the name of its section."""
    prefix = f"{recipe.kind}."
    bare = [setting.strip().removeprefix(prefix) for setting in settings]
    return recipe.with_training(overridden(recipe.training, bare))


def located(recipe: Recipe, path: Path, weights: Path | None = None) -> Recipe:
    """Return the recipe with the weights that are chosen, by a path from here.

    Args:
        recipe: As it was read.
        path: Its file, which its own paths are relative to.
        weights: In place of the recipe's.

    Raises:
        UsageError: Weights are given for what begins with none.
    """
    if recipe.classifier is None:
        if weights:
            raise UsageError(
                f"--weights is for classifiers, and this recipe trains a {recipe.kind}",
                where=path,
                remedy="leave it out",
            )
        return recipe
    own = recipe.classifier.weights
    chosen = weights or (path.parent / own if own else None)
    section = msgspec.structs.replace(recipe.classifier, weights=str(chosen) if chosen else "")
    return Recipe(classifier=section)


def dataset_of(recipe: Recipe, path: Path) -> Path:
    """Return the dataset that a recipe names, by a path from here.

    Raises:
        UsageError: It names none.
    """
    if not recipe.training.dataset:
        raise UsageError(
            "the recipe names no dataset", where=path, remedy="write 'dataset:' or give --dataset"
        )
    return path.parent / recipe.training.dataset


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
    follows = f"export {out} --out model.onnx"
    if run.kind == "generator":  # it makes pictures here, and runs on no box
        follows = f"synthesize {out} --label {run.spec.output.labels[0]} --count 100 --out pictures"
    click.echo(f"next: edgehaul {follows}")
