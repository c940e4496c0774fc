"""``edgehaul synthesize``: pictures of rare classes, from a trained generator."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from edgehaul_tools.train.generator.synthesis import synthesize as make_pictures


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--label", required=True, help="The class to make pictures of.")
@click.option("--count", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="New or empty folder for the pictures: an image folder with one class.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def synthesize(run: Path, label: str, count: int, out: Path, seed: int, *, as_json: bool) -> None:
    """Make pictures of one class with the generator of RUN (from `edgehaul train`)."""
    made = make_pictures(run, label, count, out, seed)
    if as_json:
        click.echo(msgspec.json.encode(made))
        return
    learnt = f"learnt from {made.learnt_from} real ones"
    click.echo(f"made {made.count} pictures of {label!r} in {out} ({learnt})")
    click.echo("next: add the folder to the training part alone, never to val or test")
